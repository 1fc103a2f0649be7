"""Test pictures of attention: names, labels, cells, and the common scale of one sentence's pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import HeadsConfig
from nmt.errors import UsageError
from nmt.inference.word_attention import BEGIN, END, Selection
from nmt.models.build import build_model
from nmt.pictures.heatmap import to_svg
from nmt.report.attention import Map, SentenceMaps, pictures
from nmt.report.render import Report, _pictures
from nmt.runs.run import LoadedRun, load_run
from tests.evaluation.runs import REFERENCES, SOURCES, make_run, write_texts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    folder = tmp_path_factory.mktemp("attention")
    write_texts(folder)
    return load_run(make_run(folder / "transformer", "transformer", folder))


def test_decoder_self_attention_covers_the_words_written_so_far(run: LoadedRun) -> None:
    pair = (2, SOURCES[1], REFERENCES[1])
    (picture,) = pictures("r", run.model, run.tokenizer, [pair], Selection("all", "all"), "decoder")
    words = ["A", "man", "is", "running"]
    assert picture.keys[:5] == [BEGIN, *words] and picture.queries[:4] == words and picture.queries[-1] == END
    assert [len(row) for row in picture.panels] == [4, 4, 4]
    for panel in (panel for row in picture.panels for panel in row):
        weights = np.asarray(panel.weights)
        assert weights[0, 0] > 0 and (weights[:, 0] > 0).all(), "every word attends to the begin of sentence"
        later_words = np.triu(weights, 2)  # not the word itself: its last pieces attend to its first ones
        assert not later_words.any()


def test_a_removed_head_has_an_empty_map_and_is_not_counted(run: LoadedRun) -> None:
    removed = HeadsConfig(removed=["decoder_cross.0.1", "decoder_cross.0.2"])
    config = TransformerConfig(model_dim=16, ffn_dim=16, num_heads=4, encoder_layers=1, decoder_layers=2, heads=removed)
    model = build_model(config, run.tokenizer.source_size, run.tokenizer.target_size).eval()
    pair = (1, SOURCES[1], REFERENCES[1])
    (every,) = pictures("r", model, run.tokenizer, [pair], Selection(1, "all"))
    assert [panel.title.split(", ")[1] for panel in every.panels[0]] == [
        "head 1", "head 2 (removed)", "head 3 (removed)", "head 4"]  # fmt: skip
    first, empty, _, last = (np.asarray(panel.weights) for panel in every.panels[0])
    assert not empty.any() and first.any()
    (mean,) = pictures("r", model, run.tokenizer, [pair], Selection(1, "mean"))
    assert mean.title.endswith("layer 1, mean of 2 heads")
    np.testing.assert_allclose(mean.panels[0][0].weights, (first + last) / 2, atol=1e-6)
    (both,) = pictures("r", model, run.tokenizer, [pair], Selection("mean", "mean"))
    assert both.title.endswith("mean of 2 layers, mean of all heads")


def test_layers_without_self_attention_have_no_map(run: LoadedRun) -> None:
    names = ["ssru", "softmax", "softmax", "ssru"]
    config = TransformerConfig(
        model_dim=16, ffn_dim=16, num_heads=2, encoder_layers=1, decoder_layers=4, decoder_self=names
    )
    model = build_model(config, run.tokenizer.source_size, run.tokenizer.target_size).eval()
    pair = (1, SOURCES[1], REFERENCES[1])

    def titles(layer: int | str | None) -> tuple[str, list[str]]:
        (picture,) = pictures("r", model, run.tokenizer, [pair], Selection(layer), "decoder")
        panels = [panel for row in picture.panels for panel in row]
        for panel in panels:
            np.testing.assert_allclose(np.sum(panel.weights, axis=1), 1, atol=1e-5)
        return picture.title.partition("self-attention")[2], [panel.title for panel in panels]

    assert titles(None) == (", layer 2, mean of 2 heads", [""])
    assert titles("mean") == (", mean of 2 layers, mean of 2 heads", [""])
    assert titles("all") == ("", ["layer 2, mean of 2 heads", "layer 3, mean of 2 heads"])
    with pytest.raises(UsageError, match=r"^layer 4: this model's attention has layers 2, 3 \(or mean, or all\)$"):
        titles(4)


def test_the_title_of_a_single_map_names_its_layer_and_head(run: LoadedRun) -> None:
    pair = (1234, SOURCES[1], REFERENCES[1])
    (picture,) = pictures("my-run", run.model, run.tokenizer, [pair], Selection(3, 2))
    assert picture.stem == "my-run-sentence1234-layer3-head2"
    assert picture.title == "my-run, sentence 1,234: cross-attention, layer 3, head 2"
    (mean,) = pictures("my-run", run.model, run.tokenizer, [pair], Selection("mean"))
    assert mean.title.endswith("mean of 3 layers, mean of 4 heads")


def test_maps_of_one_sentence_share_a_scale_across_systems(run: LoadedRun) -> None:
    pair = (1, SOURCES[0], REFERENCES[0])
    shown = [
        Map(system, pictures(name, run.model, run.tokenizer, [pair], Selection(1, head))[0])
        for system, (name, head) in enumerate((("a", 1), ("b", "mean")))
    ]
    sentence = SentenceMaps(1, *pair[1:], shown)
    assert shown[0].picture.most != shown[1].picture.most
    assert sentence.most == max(one.picture.most for one in shown)
    results = {"buckets": {"ranges": [], "unit": "words"}, "systems": [], "heads": []}
    drawn = _pictures(Report(results, [], [sentence], []))
    assert list(drawn.values()) == [to_svg(one.picture.draw(sentence.most)) for one in shown]
    assert all(re.fullmatch(r"attention-[12]-[ab]-sentence1-layer1-head(1|s-mean)", Path(name).name) for name in drawn)
