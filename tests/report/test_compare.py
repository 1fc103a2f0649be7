"""Test the report: every figure in it, and that the page needs no other files."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nmt.config.data import CorpusConfig
from nmt.config.load import read_config, save_config
from nmt.errors import NmtError, UsageError
from nmt.evaluation.evaluate import Settings
from nmt.evaluation.metrics import METRICS, score
from nmt.report.compare import Contestant, Request, compare
from nmt.report.page import escape_markdown
from nmt.report.systems import read_history, unique_names
from tests.evaluation.runs import MODELS, REFERENCES, SOURCES, make_run, write_lines, write_texts

OTHER = [line.replace("the", "a").replace("is ", "") for line in REFERENCES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    write_texts(folder)
    write_lines(folder / "other.txt", OTHER)
    for family in MODELS:
        make_run(folder / "runs" / family, family, folder)
    make_run(folder / "seeds" / "rnnsearch", "rnnsearch", folder, seed=2)
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    contestants = [Contestant(folder / "runs" / family) for family in MODELS]
    contestants += [Contestant(folder / "seeds" / "rnnsearch"), Contestant(folder / "other.txt", "<other>")]
    request = Request(contestants, folder / "report", sentences=[5, 1], settings=Settings(device="cpu"))
    compare(request, lambda line: None)
    return folder / "report"


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads((report / "results.json").read_text(encoding="utf-8"))


NAMES = [*MODELS, "rnnsearch-2", "<other>"]


def test_results_have_every_system_with_scores_and_intervals(folder: Path, results: dict[str, Any]) -> None:
    assert [system["name"] for system in results["systems"]] == NAMES
    for system in results["systems"]:
        for name in METRICS:
            low, high = system["scores"][name]["confidence_interval"]
            assert low <= high
    texts = {"<other>": OTHER}
    for family in MODELS:
        path = folder / "runs" / family / "evaluations" / "test" / "hypotheses.txt"
        texts[family] = path.read_text(encoding="utf-8").split("\n")[:-1]
    for system in results["systems"]:
        if system["name"] in texts:
            for name, expected in score(texts[system["name"]], REFERENCES).items():
                assert system["scores"][name]["score"] == expected.score
                assert system["scores"][name]["signature"] == expected.signature


def test_training_figures_are_given_for_runs_only(results: dict[str, Any]) -> None:
    for system in results["systems"][:-1]:
        assert system["parameters"] > 0 and system["sentences_per_second"] > 0
        assert system["training_minutes"] == 1.5 and system["updates"] == 2
        assert system["checkpoint"] == "step-0000000002" and system["beam_size"] == 2
    assert results["systems"][-1]["parameters"] is None and results["systems"][-1]["model"] is None


def test_unequal_budgets_are_mentioned_above_the_table_in_html_and_markdown(
    report: Path, results: dict[str, Any]
) -> None:
    told = results["budgets"]
    parameters = {entry["name"]: entry["parameters"] for entry in results["systems"] if entry["parameters"]}
    (difference,) = told["differences"]
    assert difference["figure"] == "parameters"
    assert difference["ratio"] == max(parameters.values()) / min(parameters.values())
    assert told["unknown"] == ["<other>"] and "parameters" in told["sentence"]
    for name, table in (("index.html", "<table"), ("report.md", "| System |")):
        text = (report / name).read_text(encoding="utf-8")
        assert 0 < text.index("The systems had different budgets: parameters") < text.index(table)


def test_every_pair_is_tested_and_marked_against_the_baseline(results: dict[str, Any]) -> None:
    pairs = results["significance"]["pairs"]
    assert len(pairs) == len(NAMES) * (len(NAMES) - 1) // 2
    assert {pair["system"] for pair in pairs if pair["baseline"]} == set(NAMES[1:])
    scores = {system["name"]: system["scores"]["bleu"]["score"] for system in results["systems"]}
    for pair in pairs:
        assert pair["metrics"]["bleu"]["difference"] == pytest.approx(scores[pair["system"]] - scores[pair["other"]])
        low, high = pair["metrics"]["bleu"]["confidence_interval"]
        assert low <= pair["metrics"]["bleu"]["difference"] <= high
        assert 0 < pair["metrics"]["bleu"]["p_value"] <= 1


def test_the_significance_test_is_named_with_its_interval(folder: Path, results: dict[str, Any]) -> None:
    assert results["significance"]["method"] == "paired bootstrap resampling"
    contestants = [Contestant(folder / "other.txt", "a"), Contestant(folder / "text.en", "b")]
    files = (folder / "text.de", folder / "text.en")
    shuffled = compare(
        Request(contestants, folder / "shuffled", *files, significance="randomisation"), lambda line: None
    )
    assert shuffled["significance"]["method"] == "approximate randomisation"
    (pair,) = shuffled["significance"]["pairs"]
    differing = sum(one != other for one, other in zip(OTHER, REFERENCES, strict=True))
    extreme = 2 / 2**differing  # the difference is largest if all translations are swapped or none are
    assert pair["metrics"]["bleu"]["p_value"] == pytest.approx(extreme, abs=0.01)
    low, high = pair["metrics"]["bleu"]["confidence_interval"]
    page = Page((folder / "shuffled" / "index.html").read_text(encoding="utf-8"))
    markdown = (folder / "shuffled" / "report.md").read_text(encoding="utf-8")
    for text in (page.text, markdown):
        assert "Riezler & Maxwell" in text and "Koehn" not in text
        assert f"{low:+.2f} to {high:+.2f}" in text and f"{pair['metrics']['bleu']['p_value']:.3f}" in text


def test_runs_that_differ_only_in_seed_are_averaged(results: dict[str, Any]) -> None:
    (group,) = results["seed_groups"]
    assert group["systems"] == ["rnnsearch", "rnnsearch-2"] and group["seeds"] == [1, 2]
    values = [s["scores"]["chrf"]["score"] for s in results["systems"] if s["name"] in group["systems"]]
    assert group["scores"]["chrf"]["mean"] == pytest.approx(sum(values) / 2)
    assert group["scores"]["chrf"]["standard_deviation"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


class Page(HTMLParser):
    """A parser that collects the links and the visible text of a page, and checks that its tags are balanced."""

    VOID = ("meta", "br", "link", "img", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.ids: list[str] = []
        self.inside: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.handle_startendtag(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                (self.inside if (value or "").startswith("#") else self.outside).append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def test_the_page_is_self_contained_and_well_formed(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(link.startswith("data:") for link in page.outside), "nothing is loaded from anywhere"
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "<script" not in text
    assert len(page.ids) == len(set(page.ids)), "ids must be unique, also between pictures"
    assert {link[1:] for link in page.inside} <= set(page.ids)


def test_the_page_shows_names_texts_and_figures_escaped(report: Path, results: dict[str, Any]) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "<other>" in page.text and "<b>kauft</b>" in page.text and "<b>" not in text
    for system in results["systems"]:
        assert f"{system['scores']['bleu']['score']:.2f}" in page.text
    for name in METRICS:
        assert results["systems"][0]["scores"][name]["signature"] in page.text


def test_attention_maps_show_the_requested_sentences_for_every_system_with_attention(
    folder: Path, report: Path
) -> None:
    paths = [*(folder / "runs" / family for family in MODELS), folder / "seeds" / "rnnsearch"]
    expected = set()
    for index, path in enumerate(paths, start=1):
        texts = (path / "evaluations" / "test" / "hypotheses.txt").read_text(encoding="utf-8").split("\n")
        name = NAMES[index - 1]
        layers = "-layer2-heads-mean" if name == "transformer" else ""
        expected |= {
            f"attention-{index}-{name}-sentence{line}{layers}"
            for line in (1, 5)
            if texts[line - 1] and name != "rnn_encdec"
        }
    assert len(expected) > 4
    assert {path.stem for path in (report / "figures").glob("attention-*.svg")} == expected


def test_markdown_has_the_figures_and_its_pictures_exist(report: Path, results: dict[str, Any]) -> None:
    text = (report / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures and all((report / picture).is_file() for picture in pictures)
    for system in results["systems"]:
        assert f"{system['scores']['chrf']['score']:.2f}" in text
    widths: set[int] = set()
    for line in text.splitlines():
        if not line.startswith("|"):
            widths = set()
            continue
        widths.add(len(re.findall(r"(?<!\\)\|", line)))
        assert len(widths) == 1, f"all rows of a table need the same number of cells: {line}"


def test_translations_are_reused_and_old_maps_are_deleted(folder: Path, report: Path) -> None:
    told: list[str] = []
    target = folder / "again"
    for sentences in ([1], [3]):
        request = Request(
            [Contestant(folder / "runs" / "rnnsearch"), Contestant(folder / "runs" / "luong")],
            target,
            sentences=sentences,
            settings=Settings(device="cpu"),
        )
        compare(request, told.append)
    assert not any("translating" in line for line in told)
    assert {path.stem.split("-")[-1] for path in (target / "figures").glob("attention-*.svg")} == {"sentence3"}


def test_pictures_that_are_not_of_the_report_are_left_alone(folder: Path) -> None:
    target = folder / "paper"
    (target / "figures").mkdir(parents=True)
    for name in ("attention-overview", "heads"):
        (target / "figures" / f"{name}.svg").write_text("mine")
    request = Request([Contestant(folder / "runs" / "luong")], target, sentences=[1], settings=Settings(device="cpu"))
    for _ in range(2):
        compare(request, lambda line: None)
    assert (target / "figures" / "attention-overview.svg").read_text("utf-8") == "mine"
    assert (target / "figures" / "heads.svg").read_text("utf-8") == "mine"


def test_only_the_test_set_that_is_compared_on_is_read(folder: Path) -> None:
    run = make_run(folder / "two" / "luong", "luong", folder)
    config = read_config(run / "config.yaml")
    config.data.test["gone"] = CorpusConfig(source=str(folder / "gone.de"), target=str(folder / "gone.en"))
    save_config(config, run / "config.yaml")
    results = compare(Request([Contestant(run)], folder / "first", settings=Settings(device="cpu")), lambda line: None)
    assert results["test_set"]["name"] == "test"


def test_one_sentence_is_no_evidence(folder: Path) -> None:
    files = [write_lines(folder / f"one.{name}", lines[:1]) for name, lines in (("de", SOURCES), ("en", REFERENCES))]
    other = write_lines(folder / "one.txt", ["A hat."])
    contestants = [Contestant(other, "a"), Contestant(files[1], "b")]
    for method in ("bootstrap", "randomisation"):
        request = Request(contestants, folder / "one", *files, significance=method)
        (pair,) = compare(request, lambda line: None)["significance"]["pairs"]
        assert pair["metrics"]["bleu"]["difference"] > 50 and pair["metrics"]["bleu"]["p_value"] == 1


def test_files_alone_are_compared_with_source_and_reference(folder: Path) -> None:
    source, reference = folder / "text.de", folder / "text.en"
    contestants = [Contestant(folder / "other.txt", "a"), Contestant(reference, "b")]
    results = compare(Request(contestants, folder / "files", source, reference), lambda line: None)
    assert results["systems"][1]["scores"]["bleu"]["score"] == pytest.approx(100)
    page = Page((folder / "files" / "index.html").read_text(encoding="utf-8"))
    assert "Attention" not in page.text and SOURCES[0] in page.text
    with pytest.raises(UsageError, match="--source and --reference"):
        compare(Request(contestants, folder / "files"), lambda line: None)


def test_wrong_numbers_of_lines_are_refused(folder: Path) -> None:
    short = write_lines(folder / "short.txt", OTHER[:3])
    source, reference = folder / "text.de", folder / "text.en"
    with pytest.raises(NmtError, match=r"short\.txt has 3 lines but the reference of text has 6"):
        compare(Request([Contestant(short, "a")], folder / "x", source, reference), lambda line: None)
    with pytest.raises(UsageError, match="--sentences 7: text has lines 1 to 6"):
        compare(Request([Contestant(reference, "a")], folder / "x", source, reference, sentences=[7]), print)


def test_names_are_made_unique() -> None:
    assert unique_names(["a", "b", "a", "a-2", "a"]) == ["a", "b", "a-2", "a-2-2", "a-3"]


def test_history_survives_a_last_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "validation", "step": 5, "minutes": 2.0, "bleu": 3.0}\n{"event": "tra')
    history = read_history(path)
    assert history.minutes == 2.0 and history.updates == 5 and len(history.validations) == 1
    path.write_text('{"event"\n{"event": "end", "step": 1, "minutes": 1}\n')
    with pytest.raises(NmtError, match="line 1"):
        read_history(path)
    assert read_history(tmp_path / "missing").validations == []


def test_markdown_is_escaped() -> None:
    assert escape_markdown("a_b *c* <d> [e] $f$") == r"a\_b \*c\* &lt;d&gt; \[e\] \$f\$"
