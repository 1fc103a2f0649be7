"""The paths of files that ship with the package: presets and the embedded corpus."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def presets() -> Path:
    """Return the folder of the YAML presets, inside an installed package or at the root of a checkout."""
    return _resource("configs", PACKAGE.parent / "configs")


def embedded_corpus() -> Path:
    """Return the folder of the embedded German-English corpus: {train,dev,test}.{de,en} and gold alignments."""
    return _resource("embedded", PACKAGE.parent / "data" / "embedded")


def _resource(name: str, in_checkout: Path) -> Path:
    installed = PACKAGE / "_resources" / name
    return installed if installed.is_dir() else in_checkout
