"""Scores that multiply two states are refused where the sizes of these states differ."""

from __future__ import annotations

import pytest

from nmt.config.load import load_config
from nmt.errors import ConfigError


@pytest.mark.parametrize("score", ["dot"])
def test_a_product_of_states_of_different_sizes_is_refused(score: str) -> None:
    given = ["model=rnnsearch", "model.hidden_dim=20", f"model.score={score}"]
    with pytest.raises(ConfigError, match=rf"model\.score={score} multiplies .*hidden_dim=20 .* 40.*score=general"):
        load_config("embedded", given)
    assert load_config("embedded", ["model=luong", f"model.score={score}"])
