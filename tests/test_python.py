"""Test the Python interface: one text or a list, attention of every head, and the commands as functions."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch

import nmt
from nmt.cli import align, evaluate, translate
from nmt.data.alignments import format_links, parse_links
from nmt.data.tokenizer import BOS
from nmt.inference.engines.native import NativeEngine
from nmt.inference.hypotheses import Translation
from nmt.inference.word_attention import END, word_attention
from nmt.search.hypothesis import Hypothesis
from tests.models.variants import REPRESENTATIVES
from tests.toy_run import MAX_TOKENS, made_up_lines, make_run, toy_config, toy_model, toy_tokenizer
from tests.training.tiny import tiny_config

LINES = [*made_up_lines(4, seed=3, longest=4), "", "ba  deki. "]
TARGETS = [*made_up_lines(5, seed=4, longest=4), "lo"]
ATTENDING = [name for name in REPRESENTATIVES if toy_model(name).attends]
CHOICES = [(None, "mean"), (1, 2), (2, "mean"), ("mean", 1)]


def translator_of(variant: str) -> nmt.Translator:
    engine = NativeEngine(toy_model(variant))
    search = toy_config(variant).search
    return nmt.Translator(engine, toy_tokenizer(), search, MAX_TOKENS, warn=lambda _: None, target_language="bb")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("python") / "run", "transformer-pre")


def test_importing_nmt_does_not_import_torch() -> None:
    slow = "{'torch', 'numpy', 'hydra', 'matplotlib'} & set(sys.modules)"
    script = f"import sys, nmt; assert set(nmt.__all__) <= set(dir(nmt)); sys.exit(str({slow} or 'none'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "none"
    assert all(getattr(nmt, name) is not None for name in nmt.__all__)
    with pytest.raises(AttributeError, match="no attribute 'translat'"):
        nmt.translat  # type: ignore[attr-defined]  # noqa: B018


def test_a_string_gives_one_result_and_a_list_gives_a_list(run: Path) -> None:
    translator = nmt.load(run, device="cpu")
    line, target = LINES[0], TARGETS[0]
    assert translator.translate(line) == translator.translate([line])[0] == translator.translate((line,))[0]
    assert isinstance(translator.translate(line), str)
    asked: list[Callable[[str | list[str], str | list[str]], object]] = [
        lambda text, _: translator.nbest(text, 2),
        lambda text, _: translator.sample(text, 2, nmt.Sampling(seed=4)),
        lambda text, _: translator.translate_mbr(text, 3),
        lambda text, of: translator.score(text, of),
        lambda text, of: translator.nbest(text, prefixes=of),
        lambda text, of: translator.align(text, of),
    ]
    for ask in asked:
        assert ask([line], [target]) == [ask(line, target)]
    assert isinstance(translator.nbest(line), Translation)
    assert translator.translate([]) == []
    assert translator.translate("") == ""


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (None, r"the text must be a string or a list of strings, not None"),
        (b"ba", r"the text is bytes: decode it"),
        (["ba", "ba \ud800"], r"the text at index 1 has half of a surrogate pair at character 3, which is no Unicode"),
        ("\udcff", r"the text at index 0 has half of a surrogate pair at character 0"),
        (7, r"not of type int"),
        ({"ba": 1}, r"not of type dict"),
        ({"ba"}, r"not of type set"),
        (["ba", None], r"each text must be a string, but the one at index 1 of the list is None"),
        (["ba", b"de"], r"index 1 of the list is of type bytes"),
    ],
)
def test_input_that_is_not_text_is_refused(wrong: object, sentence: str) -> None:
    translator = translator_of("rnnsearch")
    for ask in (translator.translate, translator.nbest, translator.attention, translator.align):
        with pytest.raises(nmt.NmtError, match=sentence):
            ask(wrong)  # type: ignore[operator]


def test_each_text_needs_its_own_target_or_prefix() -> None:
    translator = translator_of("rnnsearch")
    for ask in (
        lambda: translator.score("ba", ["lo", "lo"]),
        lambda: translator.score(["ba", "de"], "lo"),
        lambda: translator.attention(["ba", "de"], ["lo"]),
        lambda: translator.nbest(["ba", "de"], prefixes=["lo"]),
    ):
        with pytest.raises(nmt.NmtError, match="each text needs its own"):
            ask()
    with pytest.raises(nmt.NmtError, match=r"its own prefix, but got 2 texts and 1 prefix$"):
        translator.nbest(["ba", "de"], prefixes=["lo"])


@pytest.mark.parametrize("variant", ATTENDING)
def test_attention_between_pieces_is_that_of_the_model(variant: str) -> None:
    translator, model, tokenizer = translator_of(variant), toy_model(variant).double(), toy_tokenizer()
    translator.engine.model.double()  # in float64, batching and padding change results only by rounding
    for source, target, shown in zip(LINES, TARGETS, translator.attention(LINES, TARGETS, by="pieces"), strict=True):
        src, out = (torch.tensor(ids) for ids in (tokenizer.encode_source([source]), tokenizer.encode_target([target])))
        begun = torch.cat([torch.tensor([[BOS]]), out[:, :-1]], 1)
        with torch.no_grad():
            expected = model.attention(src, torch.ones_like(src, dtype=torch.bool), begun)[0]
        np.testing.assert_allclose(shown.weights, expected, atol=1e-5)
        assert shown.source == tokenizer.source_pieces(src[0].tolist())
        assert shown.target == tokenizer.target_pieces(out[0].tolist())
        assert shown.text == target


@pytest.mark.parametrize("variant", ["rnnsearch", "transformer-pre"])
def test_attention_between_words_is_that_of_nmt_align(variant: str) -> None:
    translator, model = translator_of(variant), toy_model(variant)
    found = translator.attention(LINES, TARGETS)
    for one, other in zip(found, word_attention(model, toy_tokenizer(), LINES, TARGETS), strict=True):
        assert (one.source, one.target) == other.labels
        np.testing.assert_allclose(one.mean(), other.weights, atol=1e-5)
        np.testing.assert_allclose(one.weights.sum(-1), 1, atol=1e-5)
    layers, heads = found[0].weights.shape[:2]
    assert (layers, heads) == ((1, 1) if variant == "rnnsearch" else (2, 2))
    np.testing.assert_array_equal(found[0].mean(layers, heads), found[0].weights[-1, -1])
    with pytest.raises(nmt.NmtError, match=r"layer 3: this model's attention has (one layer|layers 1 to 2)"):
        found[0].mean(3)


def test_without_a_target_the_attention_is_that_of_the_translation(run: Path) -> None:
    translator = nmt.load(run, device="cpu")
    shown = translator.attention(LINES)
    assert [one.text for one in shown] == translator.translate(LINES)
    for one, other in zip(shown, translator.attention(LINES, [one.text for one in shown]), strict=True):
        assert (one.source, one.target) == (other.source, other.target)
    assert shown[4].source == shown[4].target == [END]
    for one, translation in zip(translator.attention(LINES, by="pieces"), translator.nbest(LINES), strict=True):
        tokens = [*translation.hypotheses[0].tokens, 3]  # the end of sentence
        assert one.target == translator.tokenizer.target_pieces(tokens), "of the hypothesis, not of its text"


@pytest.mark.parametrize("by", ["words", "pieces"])
def test_a_long_line_is_shown_segment_by_segment(by: str) -> None:
    translator = translator_of("transformer-pre")
    lines = made_up_lines(3, seed=6, longest=8)
    long = " ".join(lines)
    shown = translator.attention(long, by=by)  # type: ignore[arg-type]
    assert len(translator.nbest(long).hypotheses[0].segments) > 1
    assert shown.text == translator.translate(long)
    assert shown.weights.shape == (2, 2, len(shown.target), len(shown.source))
    np.testing.assert_allclose(shown.weights.sum(-1), 1, atol=1e-5)
    if by == "pieces":
        assert shown.source.count(END) == len(translator.nbest(long).hypotheses[0].segments)
        assert (shown.weights[..., 0, -1] == 0).all()  # the first word does not attend to the last segment


@pytest.mark.parametrize(("layer", "head"), CHOICES)
def test_links_are_those_of_the_commands(
    run: Path, tmp_path: Path, layer: int | str | None, head: int | str, capsys: pytest.CaptureFixture[str]
) -> None:
    translator = nmt.load(run, device="cpu")
    source, target = tmp_path / "source", tmp_path / "target"
    lines = [line for line in LINES if line]
    source.write_text("".join(f"{line}\n" for line in lines))
    target.write_text("".join(f"{line}\n" for line in TARGETS[: len(lines)]))
    options = [] if layer is None else ["--layer", str(layer)]
    argv = [str(run), "--source", str(source), "--target", str(target), "--head", str(head), "--device", "cpu"]
    assert align.main([*argv, *options]) == 0
    links = translator.align(lines, TARGETS[: len(lines)], layer=layer, head=head)  # type: ignore[arg-type]
    assert [format_links(one) for one in links] == capsys.readouterr().out.splitlines()
    if layer is None:
        written = tmp_path / "links"
        argv = [str(run), "-i", str(source), "-o", str(tmp_path / "out"), "--alignments", str(written)]
        assert translate.main([*argv, "--device", "cpu"]) == 0
        theirs = [parse_links(line).sure for line in written.read_text().splitlines()]
        assert [frozenset(one) for one in translator.align(lines)] == theirs


def test_the_picture_shows_the_chosen_layer_and_head() -> None:
    shown = translator_of("transformer-pre").attention(LINES[0], TARGETS[0])
    figure = shown.draw(layer=1, head=2, title="one head")
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn, shown.weights[0, 1], atol=1e-6)
    assert "one head" in [text.get_text() for text in figure.texts]
    assert shown._repr_png_().startswith(b"\x89PNG")
    assert "array" not in repr(shown) and shown.source[0] in repr(shown)


class OnlySearches:
    streams = 1

    def check(self, options: object) -> None:
        return

    def search(self, *_: object) -> list[list[Hypothesis]]:
        return []


def test_models_and_engines_without_attention_are_refused(run: Path) -> None:
    with pytest.raises(nmt.NmtError, match="no attention: it reads the source as one fixed vector"):
        translator_of("cho").attention("ba.")
    with pytest.raises(nmt.NmtError, match="an ensemble has no attention of its own"):
        nmt.load([run, run], device="cpu").align("ba.")
    other = nmt.Translator(OnlySearches(), toy_tokenizer(), toy_config("cho").search, 9)  # type: ignore[arg-type]
    with pytest.raises(nmt.NmtError, match="this engine can only search for translations"):
        other.attention("ba.")
    with pytest.raises(nmt.NmtError, match=r"by must be 'words' or 'pieces', not 'heads'"):
        translator_of("rnnsearch").attention("ba.", by="heads")  # type: ignore[arg-type]


def test_wrong_arguments_of_load_are_refused(run: Path) -> None:
    for nothing in ([], None):
        with pytest.raises(nmt.NmtError, match="name the directory of a run"):
            nmt.load(nothing)  # type: ignore[arg-type]
    with pytest.raises(nmt.NmtError, match="engine='fast' is neither auto nor native nor ctranslate2"):
        nmt.load(run, engine="fast")  # type: ignore[arg-type]
    with pytest.raises(nmt.NmtError, match="precision='int4' is none of auto, fp32, "):
        nmt.load(run, precision="int4")  # type: ignore[arg-type]
    for precision in ("int8", "fp16"):
        with pytest.raises(nmt.NmtError, match=f"the native engine computes in fp32 and bf16: for {precision} choose"):
            nmt.load(run, engine="native", precision=precision)  # type: ignore[arg-type]


def test_prepare_train_and_evaluate_do_what_the_commands_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(tmp_path)
    said: list[str] = []
    prepared = nmt.prepare(config, log=said.append)
    assert len(prepared.train) == prepared.report["cleaning"]["kept"] > 100
    assert any("preparing" in sentence for sentence in said)
    run = nmt.train(config)
    assert run == tmp_path / "run"
    assert f"{prepared.folder} is prepared already" in capsys.readouterr().err
    assert nmt.load(run, device="cpu").translate("ba.") is not None
    assert nmt.train(config) == run
    assert "is trained already" in capsys.readouterr().err

    source, reference = tmp_path / "text" / "val.aa", tmp_path / "text" / "val.bb"
    (evaluation,) = nmt.evaluate(run, source=source, reference=reference, device="cpu", log=said.append)
    expected = sacrebleu.corpus_bleu(evaluation.hypotheses, [reference.read_text().splitlines()])
    assert evaluation.scores["bleu"] == pytest.approx(expected.score)
    assert evaluation.hypotheses == nmt.load(run, device="cpu").translate(source.read_text().splitlines())
    argv = [str(run), "--source", str(source), "--reference", str(reference), "--device", "cpu"]
    assert evaluate.main(argv) == 0
    assert "using the translations in" in capsys.readouterr().err


def test_a_configuration_is_checked_again_before_it_is_used(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    config.training.max_steps = -1
    with pytest.raises(nmt.NmtError, match=r"training.max_steps"):
        nmt.train(config)
    with pytest.raises(nmt.NmtError, match="overrides need a file or preset"):
        nmt.train(tiny_config(tmp_path), ["seed=2"])
    with pytest.raises(nmt.NmtError, match="not a value of type int"):
        nmt.prepare(3)  # type: ignore[arg-type]
    with pytest.raises(nmt.NmtError, match="no run_dir"):
        nmt.train(toy_config("rnnsearch"))
    for wrong in ({"source": "a"}, {"source": "a", "reference": "b", "test_sets": "test"}):
        with pytest.raises(nmt.NmtError, match="source and reference"):
            nmt.evaluate(tmp_path, **wrong)  # type: ignore[arg-type]


def test_an_interrupted_training_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    script = f"""
        import os, signal, threading, time
        from pathlib import Path
        import nmt
        from tests.training.tiny import tiny_config

        folder = Path({str(tmp_path)!r})
        config = tiny_config(folder, training__max_steps=100_000)

        def interrupt():
            while not list((folder / "run").glob("checkpoints/step-*")):
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        try:
            nmt.train(config)
        except KeyboardInterrupt as stopped:
            print("interrupted:", stopped)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"interrupted: {tmp_path / 'run'}: make the same call again")
    assert "stopped at step" in done.stderr
