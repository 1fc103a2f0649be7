"""Test heatmaps: their cells, their size, and their labels in every script that has a font."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from nmt.errors import NmtError
from nmt.pictures import fonts
from nmt.pictures.fonts import _glyphs, families_for, missing_characters
from nmt.pictures.heatmap import Panel, heatmap, heatmap_array, heatmaps, to_png, to_svg


def diagonal(rows: int, columns: int) -> np.ndarray:
    weights = np.zeros((rows, columns))
    weights[np.arange(rows), np.arange(rows) * columns // rows] = 1
    return weights


def test_source_tokens_label_the_top_and_target_tokens_the_side() -> None:
    source, target = ["Äpfel", "$x$", "|", "a\nb"], ["apples", "_x_", "^"]
    figure = heatmap(diagonal(3, 4), source, target)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Äpfel", "$x$", "|", "a·b"]
    assert [label.get_text() for label in axes.get_yticklabels()] == target
    assert not any(label.get_parse_math() for label in axes.get_xticklabels()), "a dollar sign does not start a formula"
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
    assert blue.any(), "some pixels must have the hue of heavy weights"
    empty = heatmap_array(np.zeros((2, 2)), ["a", "b"], ["x", "y"]).astype(int)
    scale = ((empty[:, :, 2] - empty[:, :, 0]) > 60).sum()
    assert blue.sum() > scale + 100, "the heavy cell must be blue, not only the colour scale"


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


def grid(rows: int, columns: int, tokens: int) -> list[list[Panel]]:
    weights = diagonal(tokens, tokens)
    return [
        [Panel(f"layer {row}, head {column}", weights / (1 + row + column)) for column in range(columns)]
        for row in range(rows)
    ]


def test_maps_of_a_grid_share_one_scale_and_each_has_its_title() -> None:
    figure = heatmaps(grid(2, 3, 4), list("abcd"), list("wxyz"), "run, sentence 3")
    *maps, scale = figure.axes
    assert [axes.get_xlabel() for axes in maps] == [f"layer {row}, head {head}" for row in (0, 1) for head in (0, 1, 2)]
    assert {axes.images[0].get_clim() for axes in maps} == {(0.0, 1.0)} and scale.get_ylim() == (0.0, 1.0)
    assert [text.get_text() for text in figure.texts] == ["run, sentence 3"]
    lower = heatmaps(grid(1, 1, 4), list("abcd"), list("wxyz"), most=2.0)
    assert lower.axes[0].images[0].get_clim() == (0.0, 2.0), "the scale of another picture can be given"


@pytest.mark.parametrize(("rows", "columns", "tokens"), [(1, 1, 2), (2, 3, 12), (2, 8, 40)])
def test_nothing_in_a_grid_overlaps(rows: int, columns: int, tokens: int) -> None:
    words = [f"Straßenbahn{number}" for number in range(tokens)]
    figure = heatmaps(grid(rows, columns, tokens), words, words, "a run with a long name, sentence 1")
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [text.get_window_extent() for text in figure.texts]
    for first, second in itertools.combinations(boxes, 2):
        apart = (first.x1 <= second.x0, second.x1 <= first.x0, first.y1 <= second.y0, second.y1 <= first.y0)
        assert any(apart), (first, second)
    for labels, side in ((figure.axes[0].get_xticklabels(), "x"), (figure.axes[0].get_yticklabels(), "y")):
        drawn = sorted((label.get_window_extent() for label in labels), key=lambda box: getattr(box, f"{side}0"))
        for before, after in itertools.pairwise(drawn):
            assert getattr(before, f"{side}1") <= getattr(after, f"{side}0") + 0.5


def test_a_picture_too_large_to_draw_is_refused_in_one_sentence() -> None:
    with pytest.raises(NmtError, match="million pixels: draw fewer layers and heads"):
        to_png(heatmap(diagonal(3, 3), list("abc"), list("xyz")), dpi=50_000)


def test_umlauts_need_only_the_bundled_font() -> None:
    assert families_for(["Äpfel über Straßen ▁"]) == ["DejaVu Sans"]
    assert missing_characters(["Äpfel über Straßen ▁ \t"]) == ""


def test_characters_that_no_font_has_are_named() -> None:
    nowhere = chr(0x5FFFF)  # Unicode never assigns this code point
    families, missing = fonts._cover(frozenset({"a", nowhere}))
    assert families == ("DejaVu Sans",) and missing == {nowhere}


def test_a_font_that_is_gone_or_broken_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    assert _glyphs(str(broken)) == _glyphs(str(tmp_path / "gone.ttf")) == frozenset()


def test_chinese_and_japanese_are_drawn_if_a_font_is_installed() -> None:
    text = ["今天", "天气", "ました"]
    if missing_characters(text):
        pytest.skip("no installed font has Chinese and Japanese")
    families = families_for(text)
    assert len(families) > 1
    drawn = heatmap_array(np.zeros((1, 1)), ["今"], ["x"])
    other = heatmap_array(np.zeros((1, 1)), ["天"], ["x"])
    assert drawn.shape != other.shape or (drawn != other).any(), (
        "two different characters must not both be drawn as the same box"
    )
