"""Test preparation in blocks: neither the number of processes nor a kill at any point changes a byte of the result."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.load import save_config
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config, TrainingConfig
from nmt.data import blocks, stages, store_writer, tokenizer
from nmt.data import prepare as preparation
from nmt.data.blocks import lines_of
from nmt.data.prepare import Prepared, prepare
from nmt.data.sources import hub, source_of
from nmt.data.sources import stream as streaming
from nmt.data.sources.source import Source
from nmt.errors import ConfigError, NmtError, Unfinished
from tests.data.test_prepare import BAD, VAL, embedded, write
from tests.forked import forked
from tests.torture.calls import Outcome

PAIRS = embedded("train", 900)
FIRST = [*PAIRS[:500], *BAD, *PAIRS[40:60]]  # ends with duplicates of pairs in other blocks
SECOND = [*PAIRS[490:], ("  " + PAIRS[3][0], PAIRS[3][1])]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a configuration with two corpora, which are read in blocks of 64 pairs."""
    monkeypatch.setattr(Source, "block", 64)
    monkeypatch.setattr(stages, "_COMMIT", 3)
    for name, pairs in (("first", FIRST), ("second", SECOND), ("val", VAL)):
        write(tmp_path / "text", name, pairs)
    prefixes = {name: CorpusConfig(prefix=str(tmp_path / "text" / name)) for name in ("first", "second", "val")}
    data = DataConfig(
        source_language="de",
        target_language="en",
        train=[prefixes["first"], prefixes["second"]],
        val=prefixes["val"],
        cache=str(tmp_path / "cache"),
        workers=1,
    )
    data.cleaning.max_tokens = 60
    return Config(
        model=TransformerConfig(share_embeddings=False),
        data=data,
        tokenizer=TokenizerConfig(algorithm="bpe", vocab_size=300, joint=False),
        training=TrainingConfig(max_steps=1),
    )


def run(config: Config, cache: Path, say: Callable[[str], None] = lambda line: None, **data: Any) -> Prepared:
    return prepare(dataclasses.replace(config, data=dataclasses.replace(config.data, cache=str(cache), **data)), say)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def the_only(cache: Path) -> dict[str, bytes]:
    """Return the content of the prepared folder, which has to be the only entry in the cache."""
    (folder,) = cache.iterdir()
    return content(folder)


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_and_the_size_of_blocks_change_nothing(
    config: Config, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = run(config, tmp_path / "one")
    many = run(config, tmp_path / "many", workers=workers)
    assert many.folder.name == one.folder.name
    assert content(many.folder) == content(one.folder)
    assert one.report["cleaning"]["dropped"]["duplicate"] == 31 + BAD.count(PAIRS[0])
    assert one.report["cleaning"]["dropped"]["too_many_tokens"] > 0
    monkeypatch.setattr(Source, "block", 10_000)
    assert content(run(config, tmp_path / "whole", workers=workers).folder) == content(one.folder)


def test_rows_of_a_corpus_are_counted(config: Config, tmp_path: Path) -> None:
    config.data.cleaning.max_tokens = 256
    train = run(config, tmp_path / "cache").train
    assert train.corpora == [500, 400]
    assert [train.source_text(row) for row in (0, 499, 500, 899)] == [PAIRS[row][0] for row in (0, 499, 500, 899)]


# -- resuming after a kill ------------------------------------------------------------------------------------------

OWNERS = {
    "Blocks": blocks.Blocks,
    "StoreWriter": store_writer.StoreWriter,
    "Tokenizer": tokenizer.Tokenizer,
    "prepare": preparation,
}


def small_blocks() -> None:
    Source.block, stages._COMMIT = 64, 3


def die_at(owner: str, name: str, turn: str, when: str) -> None:
    """Have this process killed before or after a call of a function, counted from 0."""
    small_blocks()
    function, calls = getattr(OWNERS[owner], name), count()

    def wrapper(*arguments: Any, **options: Any) -> Any:
        fatal = next(calls) == int(turn)
        if fatal and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if fatal:
            if isinstance(arguments[0], store_writer.StoreWriter):
                arguments[0].commit()  # written, but not recorded in stored.json
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(OWNERS[owner], name, wrapper)


def drive(config: Config, *kill: str) -> Outcome:
    """Run nmt-prepare in a process of its own, which dies at the given call, if any."""
    path = Path(config.data.cache).with_suffix(".yaml")
    save_config(config, path)
    return forked("nmt-prepare", [path], first=partial(die_at, *kill) if kill else small_blocks)


@pytest.fixture
def expected(config: Config, tmp_path: Path) -> dict[str, bytes]:
    return content(run(config, tmp_path / "expected").folder)


@pytest.mark.parametrize(
    ("workers", "kills", "said"),
    [
        (1, ["Blocks write 0 before"], "training the tokenizer"),
        (2, ["Blocks write 4 after", "Blocks write 3 after"], "resuming after 524 pairs that were read before"),
        (1, ["prepare train_tokenizer 0 before"], "training the tokenizer"),
        (2, ["Tokenizer save 0 after"], "training the tokenizer"),
        (1, ["StoreWriter extend 2 after"], "900 pairs encoded"),
        (2, ["StoreWriter extend 4 after"], "pairs that were encoded before"),
        (1, ["Blocks delete 1 before", "StoreWriter extend 1 after"], "pairs that were encoded before"),
        (2, ["prepare _store_val 0 before"], "0 pairs encoded"),
        (1, ["prepare tidy 0 before", "prepare tidy 0 after"], "data: preparing"),
    ],
)
def test_killed_anywhere_and_run_again(
    config: Config, expected: dict[str, bytes], tmp_path: Path, workers: int, kills: list[str], said: str
) -> None:
    config.data.workers = workers
    for kill in kills:
        killed = drive(config, *kill.split())
        assert killed.status == -9, killed.err
        assert not [path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]
    done = drive(config)
    assert done.status == 0, done.err
    assert said in done.err
    assert the_only(tmp_path / "cache") == expected


def test_finished_parts_are_not_done_again(config: Config, tmp_path: Path) -> None:
    assert drive(config, "StoreWriter", "extend", "4", "after").status == -9
    done = drive(config)
    assert "training the tokenizer" not in done.err
    assert "pairs read" not in done.err
    encoded = int(done.err.split(" pairs encoded in")[0].split()[-1].replace(",", ""))
    assert 0 < encoded < 800


def test_another_configuration_begins_anew(config: Config, tmp_path: Path) -> None:
    assert drive(config, "Blocks", "write", "5", "after").status == -9
    config.data.cleaning.max_ratio = 2.0
    assert "read before" not in drive(config).err
    names = [path.name for path in (tmp_path / "cache").iterdir()]
    assert len([name for name in names if name.endswith(".partial")]) == 1, "what was begun stays for its own"
    config.data.cleaning.max_ratio = 4.0
    assert "resuming after" in drive(config).err


def test_two_at_once_do_the_work_once(config: Config, expected: dict[str, bytes], tmp_path: Path) -> None:
    script = """
        import sys
        from nmt.cli.prepare import main
        from nmt.data import stages
        from nmt.data.sources.source import Source
        Source.block, stages._COMMIT = 64, 3
        sys.exit(main())
    """
    path = tmp_path / "config.yaml"
    save_config(config, path)
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({out for out, _ in answers}) == 1
    assert sum("training the tokenizer" in err for _, err in answers) == 1
    assert the_only(tmp_path / "cache") == expected


def test_one_that_waits_goes_on_where_another_was_killed(
    config: Config, expected: dict[str, bytes], tmp_path: Path
) -> None:
    lock = """
        import fcntl, sys, time
        from pathlib import Path
        file = open(sys.argv[1], "w")
        fcntl.lockf(file, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(60)
    """
    assert drive(config, "Blocks", "write", "5", "after").status == -9
    (partial,) = (path for path in (tmp_path / "cache").iterdir() if path.name.endswith(".partial"))
    command = [sys.executable, "-c", textwrap.dedent(lock), str(partial.with_suffix(".lock"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if "waiting" in line:
                holder.kill()

        run(config, tmp_path / "cache", say)
    assert "another process is preparing" in said[0]
    assert any("resuming after" in line for line in said)
    assert the_only(tmp_path / "cache") == expected


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    config: Config, expected: dict[str, bytes], tmp_path: Path
) -> None:
    small, before = 30_000, resource.getrlimit(resource.RLIMIT_FSIZE)  # limit on the bytes of a file, like a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (small, before[1]))
    try:
        with pytest.raises(Unfinished, match=r"could not be written: File too large .*run the same command again"):
            run(config, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said: list[str] = []
    run(config, tmp_path / "cache", said.append)
    assert not any("training the tokenizer" in line for line in said)
    assert the_only(tmp_path / "cache") == expected


def test_a_block_that_does_not_fit_is_one_sentence(config: Config, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(NmtError, match=r"\.npz could not be written: File too large"):
            run(config, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


look = stages._examine


def die_once(rules: Any, read: Any) -> Any:
    mark = Path(os.environ["NMT_TEST_MARK"])
    if read.corpus == 1 and not mark.exists():
        mark.touch()
        os._exit(9)
    return look(rules, read)


def test_a_worker_that_dies_is_replaced(
    config: Config, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_examine", die_once)
    monkeypatch.setenv("NMT_TEST_MARK", str(tmp_path / "mark"))
    said: list[str] = []
    run(config, tmp_path / "cache", said.append, workers=2)
    assert (
        "a process that builds blocks ended with status 9: preparation continues after restarting all of them" in said
    )
    assert the_only(tmp_path / "cache") == expected


def die(rules: Any, read: Any) -> Any:
    os._exit(9)


def test_workers_that_die_again_and_again_are_one_sentence(
    config: Config, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(stages, "_examine", die)
        with pytest.raises(Unfinished, match=r"status 9.*data\.workers to less than 2, or to 1 for no proc"):
            run(config, tmp_path / "cache", workers=2)
    run(config, tmp_path / "cache", workers=2)
    assert the_only(tmp_path / "cache") == expected


# -- streams --------------------------------------------------------------------------------------------------------


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CorpusConfig]:
    """Write a data set of two files with nested columns, like WMT14, which is read 50 rows at a time."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(hub, "ROWS", 50)
    monkeypatch.setattr(Source, "block", 100)
    monkeypatch.setattr(streaming.time, "sleep", lambda seconds: None)
    features = datasets.Features({"translation": datasets.Translation(languages=["de", "en"])})
    (tmp_path / "set").mkdir()
    for number, pairs in enumerate((FIRST[:270], FIRST[270:])):
        rows = [{"translation": {"de": de, "en": en}} for de, en in pairs]
        name = f"train-0000{number}-of-00002.parquet"
        datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "set" / name)
    yield CorpusConfig(hub=str(tmp_path / "set"), split="train", streaming=True)


class Broken:
    """A stream whose connection breaks after some blocks of rows."""

    def __init__(self, rows: Any, good: int) -> None:
        self.rows, self.good = rows, good
        self.features = rows.features
        self.state_dict, self.load_state_dict = rows.state_dict, rows.load_state_dict

    def iter(self, size: int) -> Iterator[Any]:
        for number, block in enumerate(self.rows.iter(size)):
            if number == self.good:
                raise ConnectionError("the other end has gone")
            yield block


def breaking(monkeypatch: pytest.MonkeyPatch, good: list[int]) -> None:
    """Let the first streams break, stream i after good[i] blocks."""
    load, left = streaming.Stream.load, list(good)

    def broken(stream: streaming.Stream) -> Any:
        rows = load(stream)
        return Broken(rows, left.pop(0)) if left else rows

    monkeypatch.setattr(streaming.Stream, "load", broken)


def test_a_stream_is_what_the_data_set_is(config: Config, stream: CorpusConfig, tmp_path: Path) -> None:
    copied = dataclasses.replace(stream, streaming=False)
    one = run(config, tmp_path / "copied", train=[copied, config.data.train[1]])
    assert any((tmp_path / "datasets").rglob("*.arrow"))
    for path in sorted((tmp_path / "datasets").rglob("*.arrow")):
        path.unlink()
    other = run(config, tmp_path / "streamed", train=[stream, config.data.train[1]])
    assert other.folder.name != one.folder.name, "the key of a stream is not of its content"
    assert content(other.folder) == content(one.folder)
    assert not any((tmp_path / "datasets").rglob("*.arrow")), "a stream leaves no copy"


@pytest.mark.parametrize("good", [[0], [1], [3, 0, 4], [6, 2]])
def test_a_stream_that_breaks_goes_on_where_it_was(
    stream: CorpusConfig, good: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, good)
    said: list[str] = []
    assert list(source_of(stream, "de", "en").pairs(said.append)) == FIRST
    assert len(said) == len(good)
    assert all("broke (the other end has gone)" in line for line in said)


def test_a_stream_that_stays_broken_is_gone_on_with_by_the_next_process(
    config: Config, stream: CorpusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = content(run(config, tmp_path / "expected", train=[stream]).folder)
    places: list[Any] = []
    with monkeypatch.context() as patch:
        breaking(patch, [5, 0, 0, 0, 0, 0])
        with pytest.raises(Unfinished, match=r"stream of .* keeps breaking .*the other end has gone"):
            run(config, tmp_path / "cache", train=[stream])
    whole = streaming.Stream.blocks

    def watched(stream: streaming.Stream, place: Any, say: Any, extent: Any) -> Any:
        places.append(place)
        return whole(stream, place, say, extent)

    monkeypatch.setattr(streaming.Stream, "blocks", watched)
    said: list[str] = []
    run(config, tmp_path / "cache", said.append, train=[stream])
    assert "resuming after 200 pairs that were read before" in said
    assert places != [None]
    assert the_only(tmp_path / "cache") == expected


def test_the_key_of_a_stream_follows_its_files(config: Config, stream: CorpusConfig, tmp_path: Path) -> None:
    one = run(config, tmp_path / "cache", train=[stream]).folder
    assert run(config, tmp_path / "cache", train=[stream]).folder == one
    path = tmp_path / "set" / "train-00001-of-00002.parquet"
    os.utime(path, (1, 1))
    assert run(config, tmp_path / "cache", train=[stream]).folder != one


def test_streams_of_json_lines_and_of_flat_columns(tmp_path: Path, stream: CorpusConfig) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"de": [de for de, _ in FIRST], "en": [en for _, en in FIRST]})
    (tmp_path / "lines").mkdir()
    rows.to_json(tmp_path / "lines" / "train.jsonl")
    flat = dataclasses.replace(stream, hub=str(tmp_path / "lines"))
    assert list(source_of(flat, "de", "en").pairs(print)) == FIRST
    with pytest.raises(NmtError, match="has no 'fr'"):
        list(source_of(flat, "de", "fr").pairs(print))


def test_what_cannot_be_is_refused(config: Config, stream: CorpusConfig) -> None:
    with pytest.raises(ConfigError, match=r"data\.train\[0\]\.streaming belongs to a data set"):
        CorpusConfig(prefix="text", streaming=True).check("data.train[0]")
    stream.check("data.train[0]")


def test_a_block_that_cannot_be_read_now_is_not_damaged(tmp_path: Path) -> None:
    """A temporary error, such as that of a network disk, asks for another attempt; a damaged file does not."""
    (tmp_path / "a.npz").mkdir()
    with pytest.raises(Unfinished, match=r"a.npz could not be read: Is a directory; run the same command again"):
        lines_of(tmp_path / "a.npz", 0)
    for content in (b"", b"PK\x03\x04", b"nothing"):
        (tmp_path / "b.npz").write_bytes(content)
        with pytest.raises(NmtError, match=r"b.npz is damaged") as caught:
            lines_of(tmp_path / "b.npz", 0)
        assert not isinstance(caught.value, Unfinished)
