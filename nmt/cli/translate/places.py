"""Checks of all files and runs that nmt-translate reads or writes, made before it reads text or loads a model."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from pathlib import Path

from nmt.cli.overwriting import check_different
from nmt.cli.translate.options import READ, WRITTEN, as_typed, given
from nmt.cli.translate.workers import Ranks
from nmt.config.load import override_search
from nmt.data.compression import open_file
from nmt.errors import NmtError, UsageError
from nmt.files import check_writable, is_special
from nmt.inference.engines.engine import choose_engine
from nmt.runs.run import check_run

_FLAGS = {"input": "-i", "output": "-o"} | {name: f"--{name}" for name in (*READ, *WRITTEN)}


def check_places(arguments: Namespace) -> bool:
    """Check all files that are read or written; return whether -i and -o both name regular files (-o may be new).

    Raises NmtError for a file that cannot be read or written, and UsageError for files that do not fit the options.
    """
    read, written = (
        {name: Path(path) for name, path in given(arguments, names).items()}
        for names in (("input", *READ), ("output", *WRITTEN))
    )
    for name, path in read.items():
        if path.is_dir():
            raise NmtError(f"{path} is a folder: give the file to {'translate' if name == 'input' else 'read'}")
    named_read, named_written = ({_FLAGS[name]: path for name, path in each.items()} for each in (read, written))
    check_different(named_read, named_written, reads_input=True)
    source, output = read.get("input"), written.get("output")
    in_files = source is not None and output is not None and not (_is_stream(source) or is_special(output))
    asked = {"--workers": arguments.workers > 1, "--resume": arguments.resume, "torchrun": Ranks().count > 1}
    for what in filter(asked.get, asked):
        if not in_files:
            raise UsageError(f"{what} needs a file to translate and a file to write: -i FILE and -o FILE")
    for name, path in read.items():
        if in_files and _is_stream(path):
            raise UsageError(
                f"{_FLAGS[name]} {path} is a pipe or a device, which can be read only once: with -i FILE and -o FILE, "
                "give a regular file"
            )
    for path in read.values():
        if not is_special(path):
            open_file(path).close()
    for path in written.values():
        check_writable(path)
    return in_files


def check_runs(arguments: Namespace) -> None:
    """Check that the runs and their checkpoints exist and that the engine supports them and the search options.

    Raises NmtError or UsageError if not.
    """
    configs = [check_run(run_dir, arguments.checkpoint) for run_dir in arguments.run_dir]
    for key in (each.partition("=")[0] for each in arguments.search):
        if key in ("beam_size", "length_penalty"):
            raise UsageError(f"--search {key} has an option of its own: give {as_typed(key)}")
    options = override_search(configs[0].search, arguments.search)
    for config in configs:
        dataclasses.replace(config, search=options).check()
    if arguments.precision is not None and any(each.partition("=")[0] == "precision" for each in arguments.search):
        raise UsageError("--precision and --search precision both choose the precision: leave one of them out")
    if choose_engine(arguments.engine, arguments.precision) == "ctranslate2":
        from nmt.inference.engines import ctranslate2

        ctranslate2.check_runs(arguments.run_dir, configs)
        ctranslate2.check_options(dataclasses.replace(options, beam_size=arguments.beam_size or options.beam_size))
        if options.precision != configs[0].search.precision:
            raise UsageError(f"--search precision is for the native engine: choose --precision {options.precision}")


def _is_stream(path: Path) -> bool:
    """Return whether a path exists but is no regular file, such as a pipe, which can be read only once."""
    return path.exists() and not path.is_file()
