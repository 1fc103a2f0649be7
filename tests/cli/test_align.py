"""nmt-align: Pharaoh links on stdout, scores against gold, heatmaps."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from nmt.checksums import seal
from nmt.cli.align import main
from nmt.config.data import CorpusConfig
from nmt.config.load import read_config
from nmt.data.alignments import parse_links
from nmt.evaluation.alignment_error import alignment_scores
from nmt.evaluation.sets import EvaluationSet
from nmt.inference.word_attention import word_attention
from nmt.pictures import fonts
from nmt.runs.run import load_run
from nmt.runs.weights import save_weights
from tests.evaluation.runs import REFERENCES, SOURCES, make_run, write_lines, write_texts

GOLD = ["0-0 1-1 2?2", "0-0", "0-0 1-1", "0-0 1?1", "0-0", "0-0 1-1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align")
    write_texts(folder)
    write_lines(folder / "gold", GOLD)
    for family in ("rnn_encdec", "luong", "transformer"):
        make_run(folder / family, family, folder)
    return folder


def call(folder: Path, family: str, *options: str) -> int:
    files = ["--source", str(folder / "text.de"), "--target", str(folder / "text.en")]
    return main([str(folder / family), *files, "--device", "cpu", *options])


@pytest.mark.parametrize("family", ["luong", "transformer"])
def test_a_line_of_links_for_each_pair(folder: Path, family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder, family) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(SOURCES)
    for line, source, target in zip(lines, SOURCES, REFERENCES, strict=True):
        links = parse_links(line).sure
        assert sorted(link[1] for link in links) == list(range(len(target.split())))
        assert all(link[0] < len(source.split()) for link in links)


def test_scores_against_gold_go_beside_the_links(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder, "luong", "--gold", str(folder / "gold"), "--json") == 0
    output = capsys.readouterr()
    links = [parse_links(line).sure for line in output.out.splitlines()]
    expected = alignment_scores(links, [parse_links(line) for line in GOLD])
    told = json.loads(output.err[output.err.index("{") :])
    assert told == {
        "aer": expected.aer,
        "precision": expected.precision,
        "recall": expected.recall,
        "links": expected.links,
        "sentences": 6,
    }
    assert call(folder, "luong", "--gold", str(folder / "gold"), "-o", str(folder / "links")) == 0
    assert f"{expected.aer:.4f}" in capsys.readouterr().out
    assert (folder / "links").read_text().splitlines() == output.out.splitlines()


def test_links_are_compressed_by_the_name_of_their_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "luong", "-o", "-") == 0
    printed = capsys.readouterr().out
    assert call(folder, "luong", "-o", str(tmp_path / "links.gz")) == 0
    assert gzip.decompress((tmp_path / "links.gz").read_bytes()).decode() == printed


def test_all_that_is_named_is_looked_at_before_the_run_is_loaded(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmt.runs.run.load_run", lambda *arguments: pytest.fail("the run is loaded"))
    gold, none = write_lines(tmp_path / "gold", GOLD[1:]), tmp_path / "none"
    for options, sentence in (
        (["--gold", str(gold)], f"{gold} has 5 lines of gold links for 6 sentence pairs"),
        (["--gold", str(none)], f"{none} is missing"),
        (["-o", str(gold / "links")], f"{gold} should be a folder, but is a file"),
        (["--heatmap", "1", "--heatmap-dir", str(gold)], f"{gold} should be a folder, but is a file"),
        (["--checkpoint", "9"], "has no checkpoint step-0000000009"),
    ):
        assert call(folder, "luong", *options) == 1
        assert sentence in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--json"], "--json prints the scores against gold links: add --gold"),
        (["--heatmap-format", "svg"], "--heatmap-format is an option of heatmaps: add --heatmap LINES"),
    ],
)
def test_options_without_effect_are_refused(
    folder: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(folder, "luong", *options) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["text.de", "text.en", "gold"])
def test_what_is_read_is_not_overwritten(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / name).read_bytes()
    assert call(folder, "luong", "--gold", str(folder / "gold"), "-o", str(folder / ".." / folder.name / name)) == 2
    assert f"{name} is the file that --" in capsys.readouterr().err
    assert (folder / name).read_bytes() == before


@pytest.mark.parametrize("options", [[], ["--heatmap", "1"]])
def test_weights_that_are_no_numbers_are_one_sentence(
    folder: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", "luong", folder)
    damage(run)
    files = ["--source", str(folder / "text.de"), "--target", str(folder / "text.en")]
    assert main([str(run), *files, "--device", "cpu", *options]) == 1
    captured = capsys.readouterr()
    assert "the model returned NaN instead of probabilities" in captured.err and captured.out == ""


def damage(run: Path) -> None:
    """Give a run weights that are not numbers, as after a training that diverged."""
    loaded = load_run(run)
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.fill_(float("nan"))
    save_weights(loaded.checkpoint.path / "model.safetensors", loaded.model)
    seal(loaded.checkpoint.path)


def test_the_tag_chooses_which_lines_have_pieces_as_words(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", "luong", folder)
    config = read_config(run / "config.yaml")
    config.data.train = [CorpusConfig(source="a", target="b", tag="2zh", target_language="zh")]
    loaded = load_run(run)
    pairs = EvaluationSet("x", SOURCES, ["Thegreenhathangs." for _ in SOURCES])
    pieces, words = (
        [
            len(one.target_words)
            for one in word_attention(
                loaded.model, loaded.tokenizer, pairs.sources, pairs.references,
                languages=[config.data.languages_of(tag)] * len(SOURCES),
            )
        ]
        for tag in ("2zh", None)
    )  # fmt: skip
    assert set(words) == {1} and min(pieces) > 1


def test_layers_and_heads_give_other_links(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = set()
    for options in (["--layer", "1", "--head", "1"], ["--layer", "3", "--head", "4"], ["--layer", "all"]):
        assert call(folder, "transformer", *options) == 0
        answers.add(capsys.readouterr().out)
    assert len(answers) > 1
    assert call(folder, "transformer", "--layer", "4") == 2
    assert "layers 1 to 3" in capsys.readouterr().err


def test_heatmaps_of_chosen_lines(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--heatmap", "2,5", "--heatmap-dir", str(tmp_path / "maps")]
    assert call(folder, "luong", *options) == 0
    assert call(folder, "luong", *options, "--heatmap-format", "svg") == 0
    names = [f"luong-sentence{line}.{kind}" for line in (2, 5) for kind in ("png", "svg")]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == names
    assert (tmp_path / "maps" / names[0]).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "maps" / names[3]).read_text(encoding="utf-8")
    assert call(folder, "luong", "--heatmap", "7") == 2
    assert "text.de has 6 lines" in capsys.readouterr().err


def test_file_names_tell_layers_and_heads_and_links_are_those_of_the_average(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--heatmap", "2", "--heatmap-format", "svg", "--heatmap-dir", str(tmp_path)]
    links = {}
    for layer, head in ((None, None), ("1", "3"), ("mean", "mean"), ("all", "all"), ("3", "all")):
        chosen = [*(["--layer", layer] if layer else []), *(["--head", head] if head else [])]
        assert call(folder, "transformer", *options, *chosen) == 0
        links[layer, head] = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "transformer-sentence2-layer1-head3.svg",
        "transformer-sentence2-layer2-heads-mean.svg",
        "transformer-sentence2-layer3-heads-all.svg",
        "transformer-sentence2-layers-all-heads-all.svg",
        "transformer-sentence2-layers-mean-heads-mean.svg",
    ]
    assert links["all", "all"] == links["mean", "mean"]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_self_attention_is_drawn_and_has_no_links(
    folder: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--attention", kind, "--heatmap", "2", "--heatmap-format", "svg", "--heatmap-dir", str(tmp_path)]
    assert call(folder, "transformer", *wanted, "--layer", "1") == 0
    assert not capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [f"transformer-sentence2-{kind}-layer1-heads-mean.svg"]
    assert call(folder, "luong", *wanted) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and f"no layer of its {kind} has any" in error
    assert call(folder, "transformer", "--attention", kind) == 2
    assert "--heatmap" in capsys.readouterr().err
    assert call(folder, "transformer", *wanted, "--gold", str(folder / "gold")) == 2
    assert "omit --gold" in capsys.readouterr().err


def test_attention_is_followed_through_the_encoder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--attention", "encoder", "--heatmap", "2", "--heatmap-format", "svg", "--heatmap-dir", str(tmp_path)]
    for how in ("rollout", "flow"):
        assert call(folder, "transformer", *base, "--map", how) == 0
        assert call(folder, "transformer", *base, "--map", how, "--layer", "all") == 0  # of one layer
    assert call(folder, "transformer", *base, "--map", "weights") == 0
    parts = ("flow-layer1", "layer1-heads-mean", "rollout-layer1")
    names = [f"transformer-sentence2-encoder-{part}.svg" for part in parts]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert "transformer, sentence 2: attention flow in the encoder, layer 1" in (tmp_path / names[0]).read_text()
    pictures = [(tmp_path / name).read_text().split("<image")[1] for name in names]
    assert pictures[1] != pictures[2], "the residual connection is part of rollout"
    capsys.readouterr()
    for options, reason in (
        (["--map", "flow", "--attention", "decoder", "--heatmap", "2"], "add --attention encoder"),
        ([*base, "--map", "flow", "--head", "2"], "omit --head"),
        ([*base, "--map", "rollout", "--layer", "mean"], "its number, or all"),
        ([*base, "--map", "rollout", "--layer", "2"], "one layer"),
    ):
        assert call(folder, "transformer", *options) == 2
        assert reason in capsys.readouterr().err


def test_characters_without_a_font_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_installed", tuple)  # as on a machine that only has the bundled font
    fonts._cover.cache_clear()
    source, target = write_lines(tmp_path / "s", ["Hut 天気"]), write_lines(tmp_path / "t", ["hat"])
    options = ["--source", str(source), "--target", str(target), "--heatmap", "1", "--heatmap-dir", str(tmp_path)]
    assert main([str(folder / "luong"), *options, "--device", "cpu"]) == 0
    fonts._cover.cache_clear()
    assert (tmp_path / "luong-sentence1.png").is_file()
    assert "no installed font has 天気" in capsys.readouterr().err


def test_a_model_without_attention_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(folder, "rnn_encdec") == 1
    output = capsys.readouterr()
    assert not output.out and len(output.err.splitlines()) == 1 and "no attention" in output.err


def test_bad_gold_is_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold = write_lines(tmp_path / "gold", [*GOLD[:5], "0-0 50-0"])
    assert call(folder, "luong", "--gold", str(gold)) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "line 6" in error and "source word 50" in error
