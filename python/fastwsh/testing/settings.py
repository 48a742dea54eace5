"""The options of a test server, from keyword arguments.

They are the server's own, by the names that they have on the command line. Neither the environment
nor a configuration file has a say: a test does the same everywhere.
"""

import argparse
import functools
from collections.abc import Mapping
from typing import Any, Final

from fastwsh import options
from fastwsh.concurrency.placement import THREADS
from fastwsh.settings import config, named_options, unused_options
from fastwsh.testing.tls import TlsFiles

__all__ = ["make_options"]

# What the test server decides itself, or what makes no sense without a command line.
_NOT_FOR_TESTS: Final = frozenset(
    {
        *("help", "version", "print_dropin_path", "check", "config_file"),
        *("server_host", "port", "bind", "uds", "fd"),
        *("websock_handlers", "scan_dir", "websock_handlers_map_file", "reload"),
        *("use_tls", "private_key", "certificate", "tls_client_auth", "tls_client_ca"),
        *("log_file", "log_level", "log_format", "log_max", "log_count", "deflate_log_level"),
        *("thread_monitor_interval_in_sec", "workers"),
    }
)

# One for all servers: making a parser takes a third of the time of a start and stop.
_parser: Final = functools.cache(options.build_parser)


def make_options(
    values: Mapping[str, Any], *, host: str, port: int, uds: str | None, tls: TlsFiles | None
) -> argparse.Namespace:
    """Return the options of a server.

    Args:
        values: Options by name, such as `max_message_bytes=100` or `strict_compat=True`. Handlers
            run in threads unless `concurrency` says otherwise: faults that wait would keep the
            hub waiting as well.
        host: The address to listen on.
        port: The port; 0 is any free one.
        uds: The path of a Unix socket to listen on instead; None: none.
        tls: The certificate, for a server that speaks TLS.

    Raises:
        TypeError: There is no such option, or it is none for tests.
        ValueError: A value cannot be used.
        ConfigError: A file or folder cannot be used.
    """
    named_options.check_address(host, port)
    if not isinstance(tls, TlsFiles | None):
        raise TypeError(f"tls={tls!r}; give what make_tls_files returns, or None")
    parser = _parser()
    given = parser.parse_args([])
    given.concurrency = THREADS
    named = named_options.apply(given, parser, values, _NOT_FOR_TESTS, "a test server")
    given.server_host, given.port, given.uds = host, port, uds
    if given.http3 and (tls is None or uds is not None):
        raise ValueError(
            "http3 needs TLS and a port; use wss_server, or give tls=make_tls_files(folder) and no "
            "uds="
        )
    if tls is not None:
        given.use_tls = True
        given.certificate, given.private_key = str(tls.certificate), str(tls.private_key)
        given.tls_client_auth = tls.client_ca is not None
        given.tls_client_ca = None if tls.client_ca is None else str(tls.client_ca)
    options.fill_in(given)
    unused_options.tell(parser, given, named)
    config.check_options(given)
    return given
