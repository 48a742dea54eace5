"""Folders that tests fill once and keep, such as packages from a registry."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def make_once(target: Path, make: Callable[[Path], object]) -> Path:
    """Return `target`, which `make` fills if it does not exist.

    Args:
        target: The folder; that above it is made as well.
        make: Called with an empty folder to fill, which becomes `target` by one rename: a run that
            is interrupted leaves nothing half made, and of two processes of a parallel run the
            first one counts.
    """
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            made = Path(work, target.name)
            made.mkdir()
            make(made)
            with suppress(OSError):
                made.rename(target)
        assert target.is_dir()
    return target
