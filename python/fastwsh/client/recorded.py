"""The console's `--record`: a recording proxy of its own between it and the server."""

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
"""Says of an error of connecting to the proxy what it is of the server."""

# For the way to the server: what is left is said to whom we speak to, who passes it on.
_WAY = ("ca_file", "verify", "certificate", "private_key", "server_hostname", "proxy")


@contextmanager
def recording(
    options: argparse.Namespace, connecting: ConnectOptions
) -> Iterator[tuple[str, ConnectOptions, Explain]]:
    """Record while the context lasts, if the options ask for it.

    Yields:
        The URL to connect to, how, and what explains an error of that.

    Raises:
        InputError: The URL or the file cannot be used.
    """
    if options.record is None:
        yield options.url, connecting, lambda error: error
        return
    # only for who records: it is a server
    from fastwsh.testing.har import HarError  # noqa: PLC0415
    from fastwsh.testing.server import WsServer  # noqa: PLC0415

    rest: dict[str, Any] = dict(connecting)
    way: dict[str, Any] = {name: rest.pop(name) for name in _WAY}
    way["headers"] = [pair for pair in options.header if pair[0].lower() == "host"]
    way["open_timeout"] = options.timeout or DEFAULT_TIMEOUT
    with WsServer() as server:
        try:
            server.record(options.url, options.record, **way)
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

        # a proxy of the environment leads away from here; and more time than the server has
        how: Any = {**rest, "proxy": None, "open_timeout": way["open_timeout"] + 1}
        yield server.url, how, explain
