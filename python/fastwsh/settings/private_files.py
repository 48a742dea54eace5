"""Files that the server uses itself, which are named by options and must not be served.

The native server recognises them by device and inode, so no other name or link leads to them.
"""

from __future__ import annotations

import logging
import os
from itertools import chain

from fastwsh.paths import is_inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Final

__all__ = ["find_tls_files", "of", "serves_dot_files", "warn"]

_LOGGER: Final = logging.getLogger("fastwsh.server")

# The options that name one file each.
_TLS: Final = ("private_key", "certificate", "tls_client_ca")
_CONFIGURATION: Final = ("config_file", "websock_handlers_map_file")
_LOGS: Final = ("log_file", "access_log")
_SOCKETS: Final = ("uds",)


def of(options: Any) -> list[str]:
    """Return the paths of the files that the options name.

    Args:
        options: pywebsocket's options; an embedder may leave some out.
    """
    return _named(options, *_TLS, *_CONFIGURATION, *_LOGS, *_SOCKETS)


def _named(options: Any, *names: str) -> list[str]:
    values = (getattr(options, name, None) for name in names)
    # an option that may be repeated has a list
    paths = chain.from_iterable(value if isinstance(value, list) else [value] for value in values)
    # "-" is standard output
    full = (os.path.abspath(path) for path in paths if path and path != "-")  # noqa: PTH100
    # one file may hold both key and certificate
    return list(dict.fromkeys(full))


def serves_dot_files(options: Any) -> bool:
    """Tell whether to serve files with names that begin with a dot, as pywebsocket does."""
    wanted = getattr(options, "serve_dot_files", False)
    return bool(wanted or getattr(options, "strict_compat", False))


def warn(options: Any, document_root: str) -> None:
    """Log once which keys and configuration files are in the document root."""
    paths = _named(options, *_TLS, *_CONFIGURATION)
    inside = [path for path in paths if os.path.exists(path) and is_inside(path, document_root)]  # noqa: PTH110
    if inside:
        _LOGGER.warning(
            "Not served, although under the document root, because the server uses it: %s",
            ", ".join(inside),
        )


def find_tls_files(options: argparse.Namespace) -> list[str]:
    """Make the paths of keys and certificates absolute, before changing to the document root.

    They are relative to the folder in which the command was typed. pywebsocket's are relative to
    the document root, so a file that does not exist is looked for there next.

    Returns:
        A warning for each that was found in the document root.
    """
    warnings = []
    for name in _TLS:
        path = getattr(options, name, None)
        if not path or os.path.isabs(path):  # noqa: PTH117 (a string as given)
            continue
        found = os.path.abspath(path)  # noqa: PTH100
        inside = os.path.abspath(os.path.join(options.document_root, path))  # noqa: PTH100, PTH118
        if not os.path.exists(found) and os.path.exists(inside):  # noqa: PTH110
            warnings.append(
                f"{path} was found in the document root, not in the current folder: keep keys and "
                "certificates elsewhere, and name them from where you start the server"
            )
            found = inside
        setattr(options, name, found)
    return warnings
