"""Options for operators: where the server listens, TLS, and logging.

Owns their names, defaults and help, and how every option is spelled and shown. `options` owns the
options for handlers and files, and the order of the sources.
"""

from __future__ import annotations

import argparse

from fastwsh import option_values
from fastwsh.listening import listeners
from fastwsh.settings import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from fastwsh.listening.places import Place

__all__ = [
    "CheckingFormatter",
    "HelpFormatter",
    "add_listening",
    "add_logging",
    "add_old_names",
    "add_tls",
    "spelled",
]

# The defaults are pywebsocket's.
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


class HelpFormatter(argparse.HelpFormatter):
    """Shows each option with its environment variables.

    It shows the spellings with dashes; those with underscores are accepted as well.
    """

    def _format_action_invocation(self, action: argparse.Action) -> str:
        import copy  # noqa: PLC0415 (for the help only)

        shown = copy.copy(action)
        shown.option_strings = [name for name in action.option_strings if "_" not in name]
        return super()._format_action_invocation(shown)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        variables = environment.variable_names(action)
        if not variables or not action.help:
            return action.help
        return f"{action.help} [{', '.join(variables)}]"


class CheckingFormatter(HelpFormatter):
    """Stands in while options are added, when argparse only checks their `metavar` with it.

    The other one asks for the size of the terminal, for each option anew.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


class _OldName(argparse.Action):
    """An option of older versions of pywebsocket: one warning at start-up instead of an error."""

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


class _TlsFile(argparse.Action):
    """A file for TLS. Under uvicorn's names the option also switches TLS on, as in uvicorn."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 (argparse's signature)
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        if option_string is None or not option_string.startswith("--ssl"):
            return
        if namespace.use_tls is None:
            namespace.use_tls = True
        if self.dest == "certificate":
            namespace.key_is_in_certificate = True


def spelled(*names: str) -> list[str]:
    """Add the spelling with underscores after each long name that has an inner dash."""
    spellings = []
    for name in names:
        spellings.append(name)
        if name.startswith("--") and "-" in name[2:]:
            spellings.append("--" + name[2:].replace("-", "_"))
    return spellings


def _place(text: str) -> Place:
    """Parse a place of `--bind`."""
    from fastwsh.listening import places  # noqa: PLC0415 (few servers listen at one)

    return places.parse_bind(text)


def add_listening(group: argparse._ArgumentGroup) -> None:
    """Add the options that say where to listen, and for what."""
    _add_places(group)
    _add_http_versions(group)
    group.add_argument(
        "-V",
        *spelled("--validation-host"),
        dest="validation_host",
        metavar="HOST",
        help="host that a request with an absolute URI must name (default: not checked)",
    )
    group.add_argument(
        "-P",
        *spelled("--validation-port"),
        dest="validation_port",
        type=option_values.port_number,
        metavar="PORT",
        help="port that a request with an absolute URI must name (default: not checked)",
    )
    group.add_argument(
        "-q",
        "--queue",
        "--backlog",
        dest="request_queue_size",
        type=option_values.backlog,
        default=_DEFAULT_BACKLOG,
        metavar="N",
        help="the most connections that wait in the kernel to be accepted (default: %(default)s)",
    )


def _add_places(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-H",
        *spelled("--server-host", "--host"),
        dest="server_host",
        default="",
        metavar="HOST",
        help="name or address to listen on (default: every address, IPv4 and IPv6)",
    )
    group.add_argument(
        "-p",
        "--port",
        type=option_values.port_number,
        default=_DEFAULT_PORT,
        help="port to listen on, 0 for any free one (default: %(default)s, unless another place "
        "is named)",
    )
    group.add_argument(
        "--bind",
        action="append",
        type=_place,
        metavar="ADDRESS",
        help="listen there as well: host:port, [IPv6 address]:port, :port (every address) or "
        "unix:path; may be repeated",
    )
    group.add_argument(
        "--uds",
        action="append",
        type=listeners.parse_unix_path,
        metavar="PATH",
        help="listen on this Unix socket as well; may be repeated",
    )
    group.add_argument(
        "--fd",
        action="append",
        type=listeners.descriptor,
        metavar="N",
        help="listen on this inherited socket as well; may be repeated (sockets of LISTEN_FDS "
        "need no option)",
    )


def _add_http_versions(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--http2",
        action="store_true",
        help="speak HTTP/2 as well: clients choose it with TLS (ALPN), and without TLS by how they "
        "begin (default: HTTP/1.1 alone)",
    )
    group.add_argument(
        "--http3",
        action="store_true",
        help="speak HTTP/3 as well, over UDP; needs --tls, and aioquic: pip install "
        "'fastwsh[http3]' (default: no HTTP/3)",
    )
    group.add_argument(
        *spelled("--http3-port"),
        dest="http3_port",
        type=option_values.port_number,
        metavar="PORT",
        help="UDP port for HTTP/3, 0 for any free one (default: the number of the TCP port)",
    )
    group.add_argument(
        *spelled("--http3-retry"),
        dest="http3_retry",
        action="store_true",
        help="let clients of HTTP/3 prove their address before the handshake, which takes a round "
        "trip more (default: during it)",
    )


def add_tls(group: argparse._ArgumentGroup) -> None:
    """Add the options for TLS and client certificates."""
    group.add_argument(
        "-t",
        "--tls",
        dest="use_tls",
        action="store_true",
        help="serve wss:// and https:// instead of ws:// and http://",
    )
    group.add_argument(
        "-k",
        *spelled("--private-key", "--ssl-keyfile"),
        action=_TlsFile,
        dest="private_key",
        default="",
        metavar="FILE",
        help="private key, PEM; --ssl-keyfile implies --tls",
    )
    group.add_argument(
        "-c",
        *spelled("--certificate", "--ssl-certfile"),
        action=_TlsFile,
        default="",
        metavar="FILE",
        help="certificate chain, PEM; --ssl-certfile implies --tls, and may contain the key as "
        "well",
    )
    group.add_argument(
        *spelled("--tls-client-auth"),
        dest="tls_client_auth",
        action="store_true",
        help="require a client certificate on every connection; needs --tls-client-ca",
    )
    group.add_argument(
        *spelled("--tls-client-cert-optional"),
        dest="tls_client_cert_optional",
        action="store_true",
        help="with --tls-client-auth: ask for a client certificate, but accept clients without one",
    )
    group.add_argument(
        *spelled("--tls-client-ca"),
        dest="tls_client_ca",
        default="",
        metavar="FILE",
        help="CA certificates for checking client certificates, PEM",
    )


def add_logging(group: argparse._ArgumentGroup) -> None:
    """Add the options for logs."""
    group.add_argument(
        "-l",
        *spelled("--log-file"),
        dest="log_file",
        default="",
        metavar="FILE",
        help="write the log to this file (default: standard error)",
    )
    group.add_argument(
        *spelled("--log-level"),
        dest="log_level",
        default="warn",
        choices=("fine", *_LEVELS),
        help="lowest level that is logged (default: %(default)s)",
    )
    group.add_argument(
        *spelled("--log-format"),
        dest="log_format",
        default="text",
        choices=("text", "json"),
        help="lines of text, or a JSON object per line (default: %(default)s)",
    )
    group.add_argument(
        *spelled("--access-log"),
        dest="access_log",
        default="",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write a line for each WebSocket connection when it has ended or was refused: to this "
        "file, or to standard output if FILE is - or missing (default: none)",
    )
    group.add_argument(
        *spelled("--deflate-log-level"),
        dest="deflate_log_level",
        default="warn",
        choices=_LEVELS,
        help="lowest level that is logged about compression (default: %(default)s)",
    )
    group.add_argument(
        *spelled("--log-max"),
        dest="log_max",
        type=option_values.integer,
        default=_DEFAULT_LOG_MAX_BYTES,
        metavar="BYTES",
        help="size at which a log file is rotated, 0 for never (default: %(default)s)",
    )
    group.add_argument(
        *spelled("--log-count"),
        dest="log_count",
        type=option_values.log_count,
        default=_DEFAULT_LOG_COUNT,
        metavar="N",
        help="the number of rotated log files to keep (default: %(default)s)",
    )
    group.add_argument(
        *spelled("--thread-monitor-interval-in-sec"),
        dest="thread_monitor_interval_in_sec",
        type=option_values.integer,
        default=-1,
        metavar="SECONDS",
        help="log the running threads this often, at level info (default: never)",
    )


def add_old_names(parser: argparse.ArgumentParser) -> None:
    """Add the options of older versions of pywebsocket, which the help does not show."""
    suppress = argparse.SUPPRESS
    for name in _OLD_NAMES:
        parser.add_argument(
            *spelled(name),
            action=_OldName,
            nargs=1 if name == "--tls-module" else 0,
            dest={"--use-basic-auth": "use_basic_auth", "--use-tls": "use_tls"}.get(name, suppress),
            default=suppress,
            help=suppress,
        )
