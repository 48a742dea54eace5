"""The console's `--record`: starts a recording proxy between the console and the server."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from fastwsh.client.arguments import DEFAULT_TIMEOUT
from fastwsh.client.options import ConnectOptions
from fastwsh.client.sending import InputError
from fastwsh.errors import ConnectArgumentError, ConnectError, ConnectRefusedError, FastwshError

__all__ = ["recording"]

Explain = Callable[[ConnectError], FastwshError]
"""Turns an error of connecting to the proxy into the error of connecting to the server."""

# Options with which the proxy connects to the server; all others stay with the connection to the
# proxy, which passes their headers on.
_FOR_PROXY = ("ca_file", "verify", "certificate", "private_key", "server_hostname", "proxy")


@contextmanager
def recording(
    options: argparse.Namespace, connecting: ConnectOptions
) -> Iterator[tuple[str, ConnectOptions, Explain]]:
    """Record while the context lasts, if the options ask for it.

    Yields:
        The URL to connect to, the options for it, and the function that explains errors.

    Raises:
        InputError: The URL or the file cannot be used.
    """
    if options.record is None:
        yield options.url, connecting, lambda error: error
        return
    # imported only for recording, because it loads the server
    from fastwsh.testing.har import HarError  # noqa: PLC0415
    from fastwsh.testing.server import WsServer  # noqa: PLC0415

    own: dict[str, Any] = dict(connecting)
    for_proxy: dict[str, Any] = {name: own.pop(name) for name in _FOR_PROXY}
    for_proxy["headers"] = [pair for pair in options.header if pair[0].lower() == "host"]
    for_proxy["open_timeout"] = options.timeout or DEFAULT_TIMEOUT
    with WsServer() as server:
        try:
            server.record(options.url, options.record, **for_proxy)
        except (ConnectArgumentError, HarError) as error:
            raise InputError(str(error)) from error
        except OSError as error:
            raise InputError(f"cannot write {options.record}: {error.strerror}") from error
        here = f"127.0.0.1:{server.port}"

        def explain(error: ConnectError) -> FastwshError:
            failures = [one.exception for one in server.take_errors()]
            for failure in failures:
                if isinstance(failure, FastwshError):
                    return failure
            if isinstance(error, ConnectRefusedError):
                there = urlsplit(options.url).netloc.rpartition("@")[2] or options.url
                error.args = (str(error).replace(here, there),)
            return error

        # no proxy of the environment, as this connection is local; and more time than the proxy has
        how: Any = {**own, "proxy": None, "open_timeout": for_proxy["open_timeout"] + 1}
        yield server.url, how, explain
