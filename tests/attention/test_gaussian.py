"""The window of Gaussians agrees with Graves 2013 in values and gradients."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.alignments.gaussian import GaussianAlignment
from nmt.attention.contract import Encoded
from nmt.config.models import LuongConfig, RnnSearchConfig
from nmt.errors import ConfigError
from tests.attention.alignment_paper import CHUNKS, QUERY, assert_matches_the_paper, inputs
from tests.attention.papers import gaussian as paper


def alignment(components: int) -> GaussianAlignment:
    torch.manual_seed(1)
    module = GaussianAlignment(QUERY, components).double()
    with torch.no_grad():
        module.window_projection.bias.copy_(torch.linspace(-1, -0.5, 3 * components))  # slow, so as to stay in sight
    return module


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("components", [1, 3])
def test_equals_the_paper_in_values_and_gradients(components: int, chunks: list[int]) -> None:
    module = alignment(components)
    names = {"W_p": module.window_projection.weight, "b_p": module.window_projection.bias}
    assert_matches_the_paper(module, lambda h, states: paper.attend(h, states, names, components), chunks)


def test_centres_stay_in_float32_under_autocast() -> None:
    """A sum over many steps would lose small steps in bf16."""
    module = alignment(2).float()
    queries, states, mask = (part if part.dtype == torch.bool else part.float() for part in inputs())
    with torch.autocast("cpu", torch.bfloat16):
        memory = module.read(Encoded(states, mask, ()))
        start = module.init_state(memory)
        attended = module.over(memory)(queries[::2], torch.zeros(1, queries.size(1)), start)
    assert start.dtype == attended.state.dtype == torch.float32


def test_states_without_a_bound_are_refused_where_they_read_the_window() -> None:
    """The exponentials of such a state would make the next one larger still, up to infinity within a sentence."""
    with pytest.raises(ConfigError, match=r"model\.alignment=gaussian .* with model\.cell=sru, whose states have no"):
        RnnSearchConfig(alignment="gaussian", cell="sru").check()
    LuongConfig(alignment="gaussian", cell="sru").check()
