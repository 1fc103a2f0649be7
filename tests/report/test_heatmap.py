"""Heatmaps: the right cells, the right size, every label, in any script a font is there for."""

from __future__ import annotations

import io
import itertools

import matplotlib.image
import numpy as np
import pytest

from nmt.report import fonts
from nmt.report.fonts import families_for, missing_characters
from nmt.report.heatmap import heatmap, heatmap_array, to_png, to_svg


def diagonal(rows: int, columns: int) -> np.ndarray:
    weights = np.zeros((rows, columns))
    weights[np.arange(rows), np.arange(rows) * columns // rows] = 1
    return weights


def test_labels_are_the_tokens_source_above_target_beside() -> None:
    source, target = ["Äpfel", "$x$", "|", "a\nb"], ["apples", "_x_", "^"]
    figure = heatmap(diagonal(3, 4), source, target)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Äpfel", "$x$", "|", "a·b"]
    assert [label.get_text() for label in axes.get_yticklabels()] == target
    assert not any(label.get_parse_math() for label in axes.get_xticklabels()), "a dollar sign is no formula"
    assert axes.xaxis.get_ticks_position() == "top"
    assert to_png(figure).startswith(b"\x89PNG")


def test_target_token_one_is_the_top_row() -> None:
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    axes = heatmap(weights, list("abc"), list("xy")).axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < right and bottom > top
    np.testing.assert_array_equal(axes.images[0].get_array(), weights)


def test_heavy_cells_are_darker_than_light_ones() -> None:
    picture = heatmap_array(np.array([[1.0, 0.0], [0.0, 0.0]]), ["a", "b"], ["x", "y"]).astype(int)
    assert picture.dtype == int and picture.ndim == 3 and picture.shape[2] == 3
    blue = (picture[:, :, 2] - picture[:, :, 0]) > 60
    assert blue.any(), "some of the picture has the hue of weight"
    empty = heatmap_array(np.zeros((2, 2)), ["a", "b"], ["x", "y"]).astype(int)
    scale = ((empty[:, :, 2] - empty[:, :, 0]) > 60).sum()
    assert blue.sum() > scale + 100, "beside the scale, the heavy cell"


def test_pixels_for_tensorboard() -> None:
    picture = heatmap_array(diagonal(3, 4), list("abcd"), list("xyz"))
    assert picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("tokens", [1, 10, 60])
def test_labels_of_any_number_do_not_overlap(tokens: int) -> None:
    words = [f"Straßenbahn{number}" for number in range(tokens)]
    figure = heatmap(diagonal(tokens, tokens), words, words)
    picture = matplotlib.image.imread(io.BytesIO(to_png(figure, dpi=100)))
    axes = figure.axes[0]
    for labels, low, high in (
        (axes.get_xticklabels(), "x0", "x1"),
        (axes.get_yticklabels(), "y0", "y1"),
    ):
        boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: getattr(box, low))
        for first, second in itertools.pairwise(boxes):
            assert getattr(first, high) <= getattr(second, low) + 0.5
    assert picture.shape[0] >= 20 * tokens


def test_same_figure_same_svg_without_outside_resources() -> None:
    svg = [to_svg(heatmap(diagonal(3, 3), list("äöü"), list("xyz"))) for _ in range(2)]
    assert svg[0] == svg[1]
    assert 'href="http' not in svg[0] and "font-family" not in svg[0]


def test_tokens_must_fit_the_weights() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        heatmap(np.zeros((2, 3)), ["a", "b"], ["x", "y", "z"])


def test_umlauts_need_no_font_but_the_bundled_one() -> None:
    assert families_for(["Äpfel über Straßen ▁"]) == ["DejaVu Sans"]
    assert missing_characters(["Äpfel über Straßen ▁ \t"]) == ""


def test_characters_no_font_has_are_named() -> None:
    nowhere = chr(0x5FFFF)  # assigned to no character for ever
    families, missing = fonts._cover(frozenset({"a", nowhere}))
    assert families == ("DejaVu Sans",) and missing == {nowhere}


def test_chinese_and_japanese_are_drawn_where_a_font_is_installed() -> None:
    text = ["今天", "天气", "ました"]
    if missing_characters(text):
        pytest.skip("no installed font has Chinese and Japanese")
    families = families_for(text)
    assert len(families) > 1
    drawn = heatmap_array(np.zeros((1, 1)), ["今"], ["x"])
    other = heatmap_array(np.zeros((1, 1)), ["天"], ["x"])
    assert drawn.shape != other.shape or (drawn != other).any(), "two glyphs, not twice the same box"
