"""Handler files by their paths: where they are, what each serves, whether one has changed."""

import os
import re
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["Stamp", "find_handler_files", "make_resource_converter", "normalize_path", "stamp"]

Stamp = tuple[int, int, int]
"""What tells two states of a file apart: time of modification in ns, size in bytes, inode."""

_SUFFIX: Final = "_wsh.py"
# Files are found whatever their case, but only the exact suffix makes a resource.
_FILE_PATTERN: Final = re.compile(r"_wsh\.py\Z", re.IGNORECASE)


def find_handler_files(directory: str) -> Iterator[str]:
    """Yield the paths of the handler files in a folder and the folders in it, sorted.

    Links to files are followed, links to folders are not.
    """
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118 (Path would drop a leading "./")
            if _FILE_PATTERN.search(path):
                yield path


def normalize_path(path: str) -> str:
    """Return the real path, with `/` between its parts; they may be given with a backslash."""
    return os.path.realpath(path.replace("\\", os.path.sep)).replace("\\", "/")


def make_resource_converter(base_dir: str) -> Callable[[str], str | None]:
    """Make the function that turns the path of a handler file into its resource.

    The function returns None for a path that is not under `base_dir` or has another suffix. It does
    not resolve links: a linked file serves the resource of the link.
    """
    base = normalize_path(base_dir)

    def convert(path: str) -> str | None:
        if not path.endswith(_SUFFIX):
            return None
        path = path.replace("\\", "/")
        if not path.startswith(base):
            return None
        return path.removeprefix(base).removesuffix(_SUFFIX)

    return convert


def stamp(path: str) -> Stamp | None:
    """Return the state of a file, links followed; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a string as given)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
