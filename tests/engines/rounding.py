"""What tests of models with weights of fewer bits share."""

from __future__ import annotations

import pytest

from nmt.engines.fp16 import has_fbgemm

needs_fbgemm = pytest.mark.skipif(not has_fbgemm(), reason="FBGEMM is for x86 processors")
PRECISIONS = [pytest.param("fp16", marks=needs_fbgemm), "int8"]
