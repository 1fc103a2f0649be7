"""The mechanisms whose weights need not sum to one are the same for the configuration as for the classes."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from nmt.attention.alignments import make_alignment
from nmt.attention.normalisers import make_normaliser
from nmt.attention.scores import make_score
from nmt.config.mechanisms import UNNORMALISED, AlignmentName, NormaliserName
from nmt.config.models import LuongConfig
from nmt.errors import ConfigError

NAMES = [("alignment", name) for name in get_args(AlignmentName)]
NAMES += [("normaliser", name) for name in get_args(NormaliserName)]


def config(**keys: Any) -> LuongConfig:
    """Return a configuration with which all mechanisms work."""
    return LuongConfig(hidden_dim=8, score="concat", input_feeding=False, **keys)


@pytest.mark.parametrize(("key", "name"), NAMES)
def test_the_doubly_stochastic_loss_is_refused_if_weights_do_not_sum_to_one(key: str, name: str) -> None:
    allowed = config(**{key: name})
    allowed.check()
    if key == "alignment":
        sums_to_one = make_alignment(allowed, make_score(allowed, 8, 8, 8), 8).sums_to_one
    else:
        sums_to_one = make_normaliser(allowed, 1, 8).sums_to_one
    assert sums_to_one == (name not in UNNORMALISED[key])
    with_loss = config(**{key: name}, doubly_stochastic=0.1)
    if sums_to_one:
        with_loss.check()
        return
    with pytest.raises(ConfigError) as caught:
        with_loss.check()
    assert str(caught.value) == (
        f"model.{key}={name} has weights that do not sum to one, and model.doubly_stochastic asks for a total weight "
        f"of one for each source word: use another model.{key}, or model.doubly_stochastic=0"
    )
