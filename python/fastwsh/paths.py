"""Handler files by their paths: where they are, what each serves, whether one has changed."""

from __future__ import annotations

import os
import posixpath

from fastwsh import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final

__all__ = [
    "HANDLER_SUFFIX",
    "Stamp",
    "below_root",
    "escape_resource",
    "find_handler_files",
    "is_inside",
    "make_resource_converter",
    "named_resource",
    "normalize_path",
    "resource_bytes",
    "stamp",
]

Stamp = tuple[int, int, int]
"""The state of a file: time of modification in ns, size in bytes, inode."""

HANDLER_SUFFIX: Final = "_wsh.py"
"""The end of the name of a handler file."""

# Emacs locks a file by a link that leads nowhere; macOS stores attributes in a separate file.
_DROPPINGS: Final = (".#", "._")


def find_handler_files(directory: str) -> Iterator[str]:
    """Yield the paths of the handler files in a folder and the folders in it, sorted.

    Links to files are followed, links to folders are not. Files that editors and file systems leave
    beside a handler file (`.#echo_wsh.py`, `._echo_wsh.py`) are ignored.
    """
    for folder, folders, files in os.walk(directory):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118 (Path would drop a leading "./")
            # found in any letter case, but only the exact suffix makes a resource
            if name.lower().endswith(HANDLER_SUFFIX) and not name.startswith(_DROPPINGS):
                yield path


def is_inside(path: str, folder: str) -> bool:
    """Tell whether a path leads into a folder, or is that folder, once links are resolved."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path == folder or path.startswith(os.path.join(folder, ""))  # noqa: PTH118 (strings)


def below_root(path: str) -> str | None:
    """Return a path under the document root without dot segments; None if it leads out of it.

    The root itself is an empty path.
    """
    path = posixpath.normpath(path.strip("/"))
    if path.split("/")[0] == "..":
        return None
    return "" if path == "." else path


def resource_bytes(resource: str) -> bytes:
    """Return a resource in UTF-8; the bytes of a file name that is not UTF-8 are kept."""
    return resource.encode("utf-8", "surrogateescape")


def named_resource(path: str) -> str | None:
    """Return the resource that a request's path means if it has escapes, or None.

    Clients escape characters that a URI must not contain: `/caf%C3%A9` is the resource of
    `café_wsh.py`.
    """
    if "%" not in path:
        return None
    unescaped = _core.unescape_path(path)
    return None if unescaped is None else unescaped.decode("utf-8", "surrogateescape")


def escape_resource(resource: str) -> str:
    """Return a resource in the form of a URL, so that it can be copied."""
    import urllib.parse  # noqa: PLC0415 (for texts for people only)

    # `%` stays as it is: it is part of the resource if a file name has one
    return urllib.parse.quote(resource_bytes(resource), safe="/%!$&'()*+,;=:@")


def normalize_path(path: str) -> str:
    """Return the real path with `/` between its parts; the argument may have backslashes."""
    return os.path.realpath(path.replace("\\", os.path.sep)).replace("\\", "/")


def make_resource_converter(base_dir: str) -> Callable[[str], str | None]:
    """Make a function that turns the path of a handler file into its resource.

    The function returns None for a path that is not under `base_dir` or has another suffix. It does
    not resolve links: a linked file serves the resource of the link.
    """
    base = normalize_path(base_dir)

    def convert(path: str) -> str | None:
        if not path.endswith(HANDLER_SUFFIX):
            return None
        path = path.replace("\\", "/")
        if not path.startswith(f"{base.rstrip('/')}/"):
            return None
        return path.removeprefix(base.rstrip("/")).removesuffix(HANDLER_SUFFIX)

    return convert


def stamp(path: str) -> Stamp | None:
    """Return the state of a file, links followed; None if there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a string as given)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
