"""Handlers and the aliases of a map file, as the options name them."""

from __future__ import annotations

import logging
import re

from fastwsh.config_error import ConfigError
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.dispatch import Dispatcher, DispatchException

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = ["alias_handlers", "load_handlers"]

_LOGGER: Final = logging.getLogger("pywebsocket3.websocket_server")
_ALIAS_LINE: Final = r"(\S+)\s+(\S+)$"


def alias_handlers(dispatcher: Any, websock_handlers_map_file: str) -> None:
    """Add the aliases in a map file, one "alias existing-resource" per line.

    Lines that begin with "#" are comments. Wrong lines are logged and ignored.

    Args:
        dispatcher: The dispatcher to add them to.
        websock_handlers_map_file: The map file.

    Raises:
        ConfigError: The map file is not UTF-8.
        OSError: The map file cannot be read.
    """
    try:
        # as the configuration file is read, whatever the locale is
        with open(websock_handlers_map_file, encoding="utf-8-sig") as file:  # noqa: PTH123
            text = file.read()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"cannot understand the map file {str(websock_handlers_map_file)!r} ({error}); save it "
            "as UTF-8"
        ) from error
    for line in text.split("\n"):
        if line.startswith("#") or not line.strip():
            continue
        resources = re.match(_ALIAS_LINE, line)
        if resources is None:
            _LOGGER.warning("Wrong format in map file: %s", line)
            continue
        try:
            dispatcher.add_resource_path_alias(*resources.groups())
        except DispatchException as error:
            _LOGGER.error("%s in map file", error)  # noqa: TRY400 (no traceback for a typo)


def load_handlers(options: Any) -> Dispatcher:
    """Load the handlers that the options name, and the aliases of the map file.

    Args:
        options: pywebsocket's options; those that an embedder leaves out have their defaults.

    Raises:
        DispatchException: The scan directory is not in the handlers' root.
        OSError: The map file cannot be read.
    """
    dispatcher = Dispatcher(
        options.websock_handlers,
        options.scan_dir,
        options.allow_handlers_outside_root_dir,
        getattr(options, "handler_encoding", None),
    )
    map_file = getattr(options, "websock_handlers_map_file", None)
    if map_file:
        alias_handlers(dispatcher, map_file)
    return dispatcher


hide_annotations(globals())
