"""The command line: every option of pywebsocket's standalone server, and fastwsh's own.

Owns the order of command line, environment and configuration file, and the options about handlers
and files; those for operators are in `arguments`. `option_values` reads single values, `config`
checks them together, and the server uses them.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from fastwsh import __version__, coroutines, metrics, option_values
from fastwsh.concurrency.placement import AUTO, CHOICES
from fastwsh.inspector.option import add_option as add_inspector
from fastwsh.output import stdout
from fastwsh.settings import (
    config,
    configuration_file,
    environment,
    limits,
    proxies,
    unused_options,
)
from fastwsh.settings.arguments import (
    CheckingFormatter,
    HelpFormatter,
    add_listening,
    add_logging,
    add_old_names,
    add_tls,
    spelled,
)
from fastwsh.settings.defaults import (
    DEFAULT_CLEANUP_TIMEOUT,
    DEFAULT_DEFLATE_LEVEL,
    DEFAULT_SHUTDOWN_TIMEOUT,
    DEFAULT_SLOW_SUBSCRIBER,
    PYWEBSOCKET_DEFLATE_LEVEL,
    SLOW_SUBSCRIBER_CHOICES,
)
from fastwsh.settings.plain_http import DEFAULT_CGI_TIMEOUT
from fastwsh.workers import count

__all__ = [
    "build_parser",
    "fill_in",
    "parse_args_and_config",
]


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; destinations and defaults are those of pywebsocket's standalone server.

    Use `parse_args_and_config` to parse: it also reads the configuration file and fills in the
    defaults that depend on other options.
    """
    parser = stdout.Parser(
        prog="fastwsh",
        usage="%(prog)s [-p PORT] [-w HANDLERS] [-d DOCUMENT_ROOT] [option ...]",
        description="Serve WebSocket handlers (*_wsh.py) and the files beside them.",
        formatter_class=CheckingFormatter,
        epilog="Each variable in brackets sets its option; the command line overrides it, and it "
        "overrides the configuration file. Flags are 1 or 0, repeatable options are separated by "
        "commas.",
    )
    parser.set_defaults(start_warnings=())
    parser.add_argument("--version", action="version", version=f"fastwsh {__version__}")
    parser.add_argument(
        *spelled("--print-dropin-path"),
        action="store_true",
        help="print the folder to put on PYTHONPATH so that pywebsocket3 and mod_pywebsocket are "
        "fastwsh's",
    )
    parser.add_argument(
        "--config",
        dest="config_file",
        metavar="FILE",
        help="read options from the section [pywebsocket] of this INI file, one 'name = value' "
        "per line, named by their long names; the command line overrides it",
    )
    add_listening(parser.add_argument_group("listening"))
    proxies.add_proxies(parser.add_argument_group("behind a proxy"))
    _add_behaviour(parser.add_argument_group("behaviour"))
    _add_handlers(parser.add_argument_group("WebSocket handlers"))
    _add_http(parser.add_argument_group("plain HTTP"))
    limits.add_limits(parser.add_argument_group("limits"))
    add_tls(parser.add_argument_group("TLS"))
    add_logging(parser.add_argument_group("logging"))
    metrics.add_options(parser.add_argument_group("metrics"))
    add_inspector(parser.add_argument_group("inspector"))
    add_old_names(parser)
    parser.formatter_class = HelpFormatter
    return parser


def _add_behaviour(group: argparse._ArgumentGroup) -> None:
    _add_concurrency(group)
    _add_stopping(group)
    _add_compression(group)
    _add_topics(group)
    group.add_argument(
        *spelled("--strict-compat"),
        dest="strict_compat",
        action="store_true",
        help="behave as pywebsocket also where it departs from the RFCs",
    )


def _add_concurrency(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--concurrency",
        choices=CHOICES,
        default=AUTO,
        help="where handlers run: threads gives each connection a thread, hub runs all in one "
        "thread, auto uses the hub for handlers that wait only in calls of their stream "
        "(default: auto)",
    )
    group.add_argument(
        "--hubs",
        type=option_values.hub_count,
        default=1,
        metavar="N",
        help="share the handlers of the hub out among this many threads, which run at once "
        "in a Python without the global lock (default: 1)",
    )
    group.add_argument(
        *spelled("--event-loop"),
        dest="event_loop",
        choices=coroutines.CHOICES,
        default=coroutines.ASYNCIO,
        help="the event loop of handlers that are coroutine functions (default: asyncio)",
    )
    count.add_option(group)


def _add_stopping(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *spelled("--shutdown-timeout"),
        dest="shutdown_timeout",
        type=option_values.seconds,
        default=DEFAULT_SHUTDOWN_TIMEOUT,
        metavar="SECONDS",
        help="time that connections have to close after SIGINT or SIGTERM (default: 10)",
    )
    group.add_argument(
        *spelled("--cleanup-timeout"),
        dest="cleanup_timeout",
        type=option_values.seconds,
        default=DEFAULT_CLEANUP_TIMEOUT,
        metavar="SECONDS",
        help="time for handlers to clean up after --shutdown-timeout, when their connections are "
        "cut; shutdown functions, and those registered with atexit, get the same time each "
        "(default: 5)",
    )


def _add_compression(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *spelled("--deflate-level"),
        dest="deflate_level",
        type=option_values.deflate_level,
        metavar="N",
        help="how hard permessage-deflate compresses, 0 (not at all) to 9 (default: 1, the "
        "quickest; with --strict-compat 6)",
    )
    group.add_argument(
        *spelled("--deflate-min-bytes"),
        dest="deflate_min_bytes",
        type=option_values.whole_number,
        default=0,
        metavar="N",
        help="messages below this size are not compressed (default: 0, all are)",
    )


def _add_topics(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        *spelled("--slow-subscriber"),
        dest="slow_subscriber",
        choices=SLOW_SUBSCRIBER_CHOICES,
        default=DEFAULT_SLOW_SUBSCRIBER,
        help="what happens to a connection that reads messages of topics so slowly that "
        "--topic-queue-bytes is reached: close it with 1008, drop the new message, or drop the "
        "oldest ones (default: close)",
    )
    group.add_argument(
        *spelled("--backplane"),
        dest="backplane",
        default=None,
        metavar="URL",
        help="what carries messages of topics between servers: redis://HOST, rediss://HOST, "
        "nats://HOST, tls://HOST or unix:PATH; a password belongs into the environment",
    )


def _add_handlers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-w",
        *spelled("--websock-handlers"),
        dest="websock_handlers",
        default=".",
        metavar="DIR",
        help="folder with the handlers, relative to the document root (default: the document root)",
    )
    group.add_argument(
        "-s",
        *spelled("--scan-dir"),
        dest="scan_dir",
        metavar="DIR",
        help="load only the handlers in this folder, which must be inside that of -w",
    )
    group.add_argument(
        "-m",
        *spelled("--websock-handlers-map-file"),
        dest="websock_handlers_map_file",
        metavar="FILE",
        help="file with aliases, one 'alias existing-path' per line",
    )
    group.add_argument(
        *spelled("--allow-handlers-outside-root-dir"),
        dest="allow_handlers_outside_root_dir",
        action="store_true",
        help="load handlers also through symbolic links that lead out of the folder of -w",
    )
    group.add_argument(
        *spelled("--handler-encoding"),
        dest="handler_encoding",
        metavar="NAME",
        help="text encoding of the handler files (default: the locale's)",
    )
    group.add_argument(
        "--reload",
        action="store_true",
        help="load a handler again when its file changes, for new connections (default: handlers "
        "stay as they were at the start)",
    )
    group.add_argument(
        "--check",
        action="store_true",
        help="load all handlers, print what was found and what failed, and exit (1 if any failed)",
    )


def _add_http(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-d",
        *spelled("--document-root"),
        dest="document_root",
        default=".",
        metavar="DIR",
        help="folder with the files to serve; the server changes to it first, so other relative "
        "paths are relative to it (default: the current folder)",
    )
    group.add_argument(
        *spelled("--serve-dot-files"),
        dest="serve_dot_files",
        action="store_true",
        help="also serve and list files and folders with names that begin with a dot (default: "
        "only .well-known)",
    )
    group.add_argument(
        "-x",
        *spelled("--cgi-paths"),
        dest="cgi_paths",
        metavar="PATHS",
        help="paths under the document root with CGI programs, separated by commas",
    )
    group.add_argument(
        *spelled("--cgi-timeout"),
        dest="cgi_timeout",
        type=option_values.seconds,
        default=DEFAULT_CGI_TIMEOUT,
        metavar="SECONDS",
        help="time after which a CGI program is stopped, 0 for no limit (default: 60)",
    )
    group.add_argument(
        *spelled("--basic-auth"),
        dest="use_basic_auth",
        action="store_true",
        help="require basic authentication",
    )
    group.add_argument(
        *spelled("--basic-auth-credential"),
        dest="basic_auth_credential",
        default="test:test",
        metavar="USER:PASSWORD",
        help="the credential that --basic-auth requires (default: %(default)s)",
    )


def parse_args_and_config(
    args: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line, the environment and the configuration file that they name.

    If several of them set an option, the first in that order counts. Values of repeatable options
    are not combined.

    Ends the process with status 2 for a bad option or value, and with 1 for an argument that no
    option takes or a configuration file that cannot be used; each with one sentence on stderr.

    Args:
        args: The arguments without the program's name; None takes those of the process.

    Returns:
        The options, with pywebsocket's destinations, `start_warnings` (sentences to log once
        logging is set up), `unused_warnings` (about options without effect, for a start that does
        not fail) and `port_is_named` (whether host or port were given), and an empty list, where
        pywebsocket has arguments left over.
    """
    parser = build_parser()
    layers = [_parse(parser, list(sys.argv[1:] if args is None else args)), _nothing(parser)]
    try:
        environment.read(parser, os.environ, layers[1])
    except environment.VariableError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    config_file = layers[0].config_file or layers[1].config_file
    if config_file:
        try:
            from_file, warnings = configuration_file.read_arguments(config_file, parser)
            # other relative paths are relative to the document root
            layers[0].config_file = os.path.abspath(config_file)  # noqa: PTH100
        except config.ConfigError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        layers.append(_parse_file(parser, from_file, config_file))
        layers[2].start_warnings += tuple(warnings)
    if layers[0].backplane and (shown := _without_password(layers[0].backplane)):
        warning = (
            f"--backplane {shown}: every user of this machine can see the password in the command "
            "line; give it by FASTWSH_BACKPLANE or the configuration file"
        )
        layers[0].start_warnings += (warning,)
    return _merge(parser, layers), []


def _without_password(url: str) -> str:
    """Return a URL for people if it contains a password; "" otherwise."""
    from fastwsh.backplane import engines  # noqa: PLC0415 (few need it)

    return engines.without_password(url) if engines.has_password(url) else ""


def _nothing(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return options of which none is given: None instead of argparse's defaults."""
    given = {action.dest: None for action in parser._actions if action.dest != argparse.SUPPRESS}
    return argparse.Namespace(**given, start_warnings=())


def _parse(parser: argparse.ArgumentParser, args: list[str]) -> argparse.Namespace:
    options, unknown = parser.parse_known_args(args, _nothing(parser))
    if unknown:
        parser.exit(
            1, f"{parser.prog}: Unrecognized positional arguments: {unknown!r}; see --help\n"
        )
    return options


def _parse_file(parser: argparse.ArgumentParser, args: list[str], path: str) -> argparse.Namespace:
    """Do the same for arguments from a file, which an error names."""
    parser.exit_on_error = False
    try:
        return _parse(parser, args)
    except argparse.ArgumentError as error:
        parser.error(f"in the configuration file {path!r}: {error}")
    finally:
        parser.exit_on_error = True


def _merge(parser: argparse.ArgumentParser, layers: list[argparse.Namespace]) -> argparse.Namespace:
    """Merge the layers, of which the first counts, with the defaults and what follows from them."""
    options = parser.parse_args([])
    for layer in reversed(layers):
        given = {name: value for name, value in vars(layer).items() if value is not None}
        warnings = (*layer.start_warnings, *options.start_warnings)
        vars(options).update(given, start_warnings=warnings)
    options.port_is_named = any(
        value is not None for layer in layers for value in (layer.server_host, layer.port)
    )
    if vars(options).pop("key_is_in_certificate", False) and not options.private_key:
        options.private_key = options.certificate
    fill_in(options)
    named = {name for layer in layers for name, value in vars(layer).items() if value is not None}
    options.unused_warnings = tuple(unused_options.sentences(parser, options, named))
    return options


def fill_in(options: argparse.Namespace) -> None:
    """Set the defaults that depend on other options."""
    limits.fill_in(options)
    if options.deflate_level is None:
        strict = options.strict_compat
        options.deflate_level = PYWEBSOCKET_DEFLATE_LEVEL if strict else DEFAULT_DEFLATE_LEVEL
