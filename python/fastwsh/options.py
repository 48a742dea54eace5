"""The command line: every option of pywebsocket's standalone server, and fastwsh's own.

Owns names, defaults and the order of command line and configuration file. What the settings must
satisfy together is `config`'s business; what they do is the server's.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from typing import Any, Final

from fastwsh import __version__, config

__all__ = [
    "DEFAULT_MAX_MESSAGE_BYTES",
    "DEFAULT_SHUTDOWN_TIMEOUT",
    "build_parser",
    "parse_args_and_config",
]

DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""64 MiB: twice the largest message that web-platform-tests sends (32 MiB)."""

DEFAULT_SHUTDOWN_TIMEOUT: Final = 10.0
"""10 s: what service managers wait at least before they kill."""

# The remaining defaults are pywebsocket's.
_DEFAULT_PORT: Final = 80
_DEFAULT_LOG_MAX_BYTES: Final = 256 * 1024
_DEFAULT_LOG_COUNT: Final = 5
_DEFAULT_BACKLOG: Final = 128

_LEVELS: Final = ("debug", "info", "warning", "warn", "error", "critical")

_OLD_NAMES: Final = {
    "--allow-draft75": "has no effect: only RFC 6455 is spoken",
    "--strict": "has no effect: requests are always checked",
    "--tls-module": "has no effect: TLS is built in",
    "--use-basic-auth": "is an old name of --basic-auth",
    "--use-tls": "is an old name of --tls",
}


class _Formatter(argparse.HelpFormatter):
    """Shows the spelling with dashes only; the one with underscores is accepted all the same."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        shown = copy.copy(action)
        shown.option_strings = [name for name in action.option_strings if "_" not in name]
        return super()._format_action_invocation(shown)


class _OldName(argparse.Action):
    """An option of older pywebsockets: one warning at start-up instead of an error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 (argparse's signature)
        namespace: argparse.Namespace,
        values: Any,  # noqa: ARG002
        option_string: str | None = None,
    ) -> None:
        name = self.option_strings[0]
        warning = f"{option_string} {_OLD_NAMES[name]}"
        namespace.start_warnings = (*namespace.start_warnings, warning)
        if self.dest != argparse.SUPPRESS:
            setattr(namespace, self.dest, True)


def _spelled(*names: str) -> list[str]:
    """Add the spelling with underscores behind each long name that has an inner dash."""
    spelled = []
    for name in names:
        spelled.append(name)
        if name.startswith("--") and "-" in name[2:]:
            spelled.append("--" + name[2:].replace("-", "_"))
    return spelled


def build_parser() -> argparse.ArgumentParser:
    """Build the parser; destinations and defaults are those of pywebsocket's standalone server.

    Use `parse_args_and_config` to parse: it also reads the configuration file and fills in the
    defaults that depend on other options.
    """
    parser = argparse.ArgumentParser(
        prog="fastwsh",
        usage="%(prog)s [-p PORT] [-w HANDLERS] [-d DOCUMENT_ROOT] [option ...]",
        description="Serve WebSocket handlers (*_wsh.py) and the files beside them.",
        formatter_class=_Formatter,
    )
    parser.set_defaults(start_warnings=())
    parser.add_argument("--version", action="version", version=f"fastwsh {__version__}")
    parser.add_argument(
        *_spelled("--print-dropin-path"),
        action="store_true",
        help="print the folder for PYTHONPATH whose pywebsocket3 and mod_pywebsocket are fastwsh's",
    )
    parser.add_argument(
        "--config",
        dest="config_file",
        metavar="FILE",
        help="read options from the section [pywebsocket] of this INI file, one 'name = value' "
        "per line, named by their long names; the command line overrides it",
    )
    _add_listening(parser.add_argument_group("listening"))
    _add_handlers(parser.add_argument_group("WebSocket handlers"))
    _add_http(parser.add_argument_group("plain HTTP"))
    _add_tls(parser.add_argument_group("TLS"))
    _add_logging(parser.add_argument_group("logging"))
    _add_old_names(parser)
    return parser


def _add_listening(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-H",
        *_spelled("--server-host", "--host"),
        dest="server_host",
        default="",
        metavar="HOST",
        help="name or address to listen on (default: every address, IPv4 and IPv6)",
    )
    group.add_argument(
        "-p",
        "--port",
        type=config.port_number,
        default=_DEFAULT_PORT,
        help="port to listen on, 0 for any free one (default: %(default)s)",
    )
    group.add_argument(
        "-V",
        *_spelled("--validation-host"),
        dest="validation_host",
        metavar="HOST",
        help="host that a request with an absolute URI must name (default: not checked)",
    )
    group.add_argument(
        "-P",
        *_spelled("--validation-port"),
        dest="validation_port",
        type=int,
        metavar="PORT",
        help="port that a request with an absolute URI must name (default: not checked)",
    )
    group.add_argument(
        "-q",
        "--queue",
        dest="request_queue_size",
        type=int,
        default=_DEFAULT_BACKLOG,
        metavar="N",
        help="connections that the system keeps waiting to be accepted (default: %(default)s)",
    )
    group.add_argument(
        *_spelled("--shutdown-timeout"),
        dest="shutdown_timeout",
        type=config.seconds,
        default=DEFAULT_SHUTDOWN_TIMEOUT,
        metavar="SECONDS",
        help="time that connections have to close after SIGINT or SIGTERM (default: 10)",
    )
    group.add_argument(
        *_spelled("--max-message-bytes"),
        dest="max_message_bytes",
        type=config.byte_count,
        metavar="N",
        help="longest message that is received, 0 for no limit (default: 67108864, which is "
        "64 MiB; with --strict-compat 0)",
    )
    group.add_argument(
        *_spelled("--strict-compat"),
        dest="strict_compat",
        action="store_true",
        help="do as pywebsocket does also where it departs from the RFCs",
    )


def _add_handlers(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-w",
        *_spelled("--websock-handlers"),
        dest="websock_handlers",
        default=".",
        metavar="DIR",
        help="folder with the handlers; a relative one is seen from the document root "
        "(default: the document root)",
    )
    group.add_argument(
        "-s",
        *_spelled("--scan-dir"),
        dest="scan_dir",
        metavar="DIR",
        help="load only the handlers in this folder, which is inside the one of -w",
    )
    group.add_argument(
        "-m",
        *_spelled("--websock-handlers-map-file"),
        dest="websock_handlers_map_file",
        metavar="FILE",
        help="file with aliases, one 'alias existing-path' per line",
    )
    group.add_argument(
        *_spelled("--allow-handlers-outside-root-dir"),
        dest="allow_handlers_outside_root_dir",
        action="store_true",
        help="load handlers also where symbolic links lead out of the folder of -w",
    )
    group.add_argument(
        *_spelled("--handler-encoding"),
        dest="handler_encoding",
        metavar="NAME",
        help="text encoding of the handler files (default: the locale's)",
    )
    group.add_argument(
        "--check",
        action="store_true",
        help="load all handlers, print what was found and what failed, and exit (1 if any failed)",
    )


def _add_http(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-d",
        *_spelled("--document-root"),
        dest="document_root",
        default=".",
        metavar="DIR",
        help="folder with the files to serve; the server changes to it first, so that other "
        "relative paths are seen from it (default: the current folder)",
    )
    group.add_argument(
        "-x",
        *_spelled("--cgi-paths"),
        dest="cgi_paths",
        metavar="PATHS",
        help="paths under the document root whose files are CGI programs, separated by commas",
    )
    group.add_argument(
        *_spelled("--basic-auth"),
        dest="use_basic_auth",
        action="store_true",
        help="require basic authentication",
    )
    group.add_argument(
        *_spelled("--basic-auth-credential"),
        dest="basic_auth_credential",
        default="test:test",
        metavar="USER:PASSWORD",
        help="the credential that --basic-auth requires (default: %(default)s)",
    )


def _add_tls(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-t",
        "--tls",
        dest="use_tls",
        action="store_true",
        help="serve wss:// and https:// instead of ws:// and http://",
    )
    group.add_argument(
        "-k",
        *_spelled("--private-key"),
        dest="private_key",
        default="",
        metavar="FILE",
        help="private key, PEM",
    )
    group.add_argument(
        "-c", "--certificate", default="", metavar="FILE", help="certificate chain, PEM"
    )
    group.add_argument(
        *_spelled("--tls-client-auth"),
        dest="tls_client_auth",
        action="store_true",
        help="require a client certificate on every connection",
    )
    group.add_argument(
        *_spelled("--tls-client-cert-optional"),
        dest="tls_client_cert_optional",
        action="store_true",
        help="with --tls-client-auth: ask for a client certificate, and do without",
    )
    group.add_argument(
        *_spelled("--tls-client-ca"),
        dest="tls_client_ca",
        default="",
        metavar="FILE",
        help="certificates of the authorities that client certificates must come from, PEM",
    )


def _add_logging(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-l",
        *_spelled("--log-file"),
        dest="log_file",
        default="",
        metavar="FILE",
        help="write the log there (default: standard error)",
    )
    group.add_argument(
        *_spelled("--log-level"),
        dest="log_level",
        default="warn",
        choices=("fine", *_LEVELS),
        help="lowest level that is logged (default: %(default)s)",
    )
    group.add_argument(
        *_spelled("--deflate-log-level"),
        dest="deflate_log_level",
        default="warn",
        choices=_LEVELS,
        help="the same for compression and decompression (default: %(default)s)",
    )
    group.add_argument(
        *_spelled("--log-max"),
        dest="log_max",
        type=int,
        default=_DEFAULT_LOG_MAX_BYTES,
        metavar="BYTES",
        help="size at which the log file is rotated, 0 for never (default: %(default)s)",
    )
    group.add_argument(
        *_spelled("--log-count"),
        dest="log_count",
        type=int,
        default=_DEFAULT_LOG_COUNT,
        metavar="N",
        help="rotated log files that are kept (default: %(default)s)",
    )
    group.add_argument(
        *_spelled("--thread-monitor-interval-in-sec"),
        dest="thread_monitor_interval_in_sec",
        type=int,
        default=-1,
        metavar="SECONDS",
        help="log the running threads this often, at level info (default: never)",
    )


def _add_old_names(parser: argparse.ArgumentParser) -> None:
    suppress = argparse.SUPPRESS
    for name in _OLD_NAMES:
        parser.add_argument(
            *_spelled(name),
            action=_OldName,
            nargs=1 if name == "--tls-module" else 0,
            dest={"--use-basic-auth": "use_basic_auth", "--use-tls": "use_tls"}.get(name, suppress),
            default=suppress,
            help=suppress,
        )


def parse_args_and_config(
    args: Sequence[str] | None = None,
) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line and the configuration file that it names.

    Ends the process with status 2 for a bad option or value, and with 1 for an argument that no
    option takes or a configuration file that cannot be used; each with one sentence on stderr.

    Args:
        args: The arguments without the program's name; None takes those of the process.

    Returns:
        The options, with pywebsocket's destinations and `start_warnings` (sentences to log once
        logging is set up), and an empty list, where pywebsocket has arguments left over.
    """
    parser = build_parser()
    command_line = list(sys.argv[1:] if args is None else args)
    options = _parse(parser, command_line)
    if options.config_file:
        try:
            from_file, warnings = config.read_arguments(options.config_file, parser)
        except config.ConfigError as error:
            parser.exit(1, f"{parser.prog}: {error}\n")
        options = _parse(parser, [*from_file, *command_line])
        options.start_warnings += tuple(warnings)
    if options.max_message_bytes is None:
        options.max_message_bytes = 0 if options.strict_compat else DEFAULT_MAX_MESSAGE_BYTES
    return options, []


def _parse(parser: argparse.ArgumentParser, args: list[str]) -> argparse.Namespace:
    options, unknown = parser.parse_known_args(args)
    if unknown:
        parser.exit(
            1, f"{parser.prog}: Unrecognized positional arguments: {unknown!r}; see --help\n"
        )
    return options
