"""Settings of plain HTTP for the native server: content types, and which files are programs.

Owns the reading of those options and of the system's tables. The native server serves them.
"""

from __future__ import annotations

import os

from fastwsh import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypedDict

    class Settings(TypedDict):
        """Arguments of `_core.Server`."""

        content_types: Callable[[], dict[str, str]]
        cgi_directories: list[bytes]
        cgi_timeout: float | None
        cgi_user: tuple[int, int] | None
        cgi_is_executable: Callable[[str], object] | None


__all__ = ["DEFAULT_CGI_TIMEOUT", "content_types", "settings"]

DEFAULT_CGI_TIMEOUT: Final = 60.0
"""60 s, as Apache's default."""

# The type of a compressed file is that of the compression, not of its content.
_COMPRESSED: Final = {
    ".gz": "application/gzip",
    ".z": "application/octet-stream",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
}


def settings(options: Any) -> Settings:
    """Read the options.

    Args:
        options: pywebsocket's options; those that an embedder leaves out have their defaults.
    """
    directories = getattr(options, "cgi_directories", None)
    if directories is None:
        directories = (getattr(options, "cgi_paths", None) or "").split(",")
    below_root = [paths.below_root(path) for path in directories if path]
    inside = [os.fsencode(path) for path in below_root if path is not None]
    return {
        "content_types": content_types,
        "cgi_directories": inside,
        "cgi_timeout": getattr(options, "cgi_timeout", DEFAULT_CGI_TIMEOUT) or None,
        "cgi_user": _nobody() if inside else None,
        "cgi_is_executable": getattr(options, "is_executable_method", None),
    }


def content_types() -> dict[str, str]:
    """Return content types by extension, as `mimetypes` knows them now.

    That includes the system's own tables and what a program has added by `mimetypes.add_type`.
    """
    import mimetypes  # noqa: PLC0415 (for servers that send a file)

    if not mimetypes.inited:
        mimetypes.init()
    types = dict(mimetypes.types_map)
    for suffix in mimetypes.suffix_map:
        guess, _ = mimetypes.guess_type(f"file{suffix}")
        if guess:
            types[suffix] = guess
    return types | _COMPRESSED


def _nobody() -> tuple[int, int] | None:
    """Return the user and the group that programs run as, None for the server's own."""
    if os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 (for servers with CGI programs)

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        # the kernel's number for unknown users
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid
