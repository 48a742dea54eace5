"""The command line, under the names that embedding programs call.

`python -m pywebsocket3.standalone` and `python -m mod_pywebsocket.standalone` run this module where
those names resolve to fastwsh.
"""

import argparse
import sys
from collections.abc import Sequence

from fastwsh import cli, options
from fastwsh.loading.map_file import alias_handlers as _alias_handlers
from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket.request_handler import WebSocketRequestHandler
from fastwsh.pywebsocket.server_util import ThreadMonitor
from fastwsh.pywebsocket.server_util import configure_logging as _configure_logging
from fastwsh.server import WebSocketServer

__all__ = [
    "ThreadMonitor",
    "WebSocketRequestHandler",
    "WebSocketServer",
    "_alias_handlers",
    "_build_option_parser",
    "_configure_logging",
    "_main",
    "_parse_args_and_config",
]


def _build_option_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    return options.build_parser()


def _parse_args_and_config(
    args: Sequence[str] | None,
) -> tuple[argparse.Namespace, list[str]]:
    """Parse the arguments, and the configuration file that they may name.

    Args:
        args: The arguments; None takes those of the process.

    Returns:
        The options for `WebSocketServer`, and the arguments that were left over.
    """
    return options.parse_args_and_config(args)


def _main(args: Sequence[str] | None = None) -> None:
    """Run a server until it is told to stop.

    Changes the current directory to the document root and sets up the root logger.

    Args:
        args: The arguments; None takes those of the process.

    Raises:
        SystemExit: The server could not be started.
    """
    status = cli.main(args)
    if status:
        sys.exit(status)


hide_annotations(globals())

if __name__ == "__main__":
    _main(sys.argv[1:])
