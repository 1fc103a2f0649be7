"""Attention rollout and flow (Abnar and Zuidema 2020) on graphs that are small enough to be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nmt.errors import NmtError
from nmt.inference.rollout import flow, residual, rollout, through_layers

# two layers over two tokens, with two heads each, whose means are [[.2, .8], [1, 0]] and [[0, 1], [.5, .5]]
WEIGHTS = np.array(
    [
        [[[0.4, 0.6], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]],
        [[[0.0, 1.0], [0.3, 0.7]], [[0.0, 1.0], [0.7, 0.3]]],
    ]
)
FIRST = [[0.6, 0.4], [0.5, 0.5]]  # 0.5 W + 0.5 I
SECOND = [[0.5, 0.5], [0.25, 0.75]]


def test_the_residual_connection_is_attention_to_itself() -> None:
    np.testing.assert_allclose(residual(WEIGHTS), [FIRST, SECOND])


def test_rollout_is_the_product_of_the_layers_from_the_top() -> None:
    """For example, .5 * .6 + .5 * .5 = .55 of what the first position knows is from the first token."""
    top = [[0.55, 0.45], [0.25 * 0.6 + 0.75 * 0.5, 0.25 * 0.4 + 0.75 * 0.5]]
    np.testing.assert_allclose(rollout(residual(WEIGHTS)), [FIRST, top])
    np.testing.assert_allclose(through_layers("rollout", WEIGHTS, [1]), [top])


def test_flow_through_one_layer_is_its_weights() -> None:
    np.testing.assert_allclose(flow(np.array([FIRST])), FIRST)


def test_flow_is_limited_by_the_narrowest_edge_of_each_path() -> None:
    """From the first position to the first token lead two paths, of min(.5, .6) and min(.5, .5)."""
    expected = [
        [min(0.5, 0.6) + min(0.5, 0.5), min(0.5, 0.4) + min(0.5, 0.5)],
        [min(0.25, 0.6) + min(0.75, 0.5), min(0.25, 0.4) + min(0.75, 0.5)],
    ]
    np.testing.assert_allclose(flow(np.array([FIRST, SECOND])), expected)
    np.testing.assert_allclose(through_layers("flow", WEIGHTS, [0, 1]), [FIRST, expected])


def test_flow_is_shared_where_paths_meet() -> None:
    """In three layers, paths share the edges into token 0: (.2) and (.1), which is what arrives, and no more."""
    into = np.array([[0.2, 0.8], [0.1, 0.9]])
    wide = np.array([[0.5, 0.5], [0.5, 0.5]])
    expected = [[0.3, 1.0], [0.3, 1.0]]
    np.testing.assert_allclose(flow(np.stack([into, wide, wide])), expected)


def test_a_token_that_nothing_attends_to_has_no_flow() -> None:
    np.testing.assert_allclose(flow(np.array([[[1.0, 0.0], [1.0, 0.0]]])), [[1, 0], [1, 0]])


@pytest.mark.parametrize("broken", [np.zeros((2, 2)), np.array([[0.5, 0.6], [0.5, 0.5]]), np.array([[-1, 2], [0, 1]])])
def test_weights_that_are_no_shares_are_refused(broken: np.ndarray) -> None:
    weights = np.stack([WEIGHTS[0], np.stack([broken, broken])])
    with pytest.raises(NmtError) as caught:
        through_layers("rollout", weights, [0])
    assert "through layer 2, whose weights do not sum to one" in str(caught.value)
