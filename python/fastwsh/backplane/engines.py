"""What carries messages between servers, chosen by a URL."""

import os
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Protocol

from fastwsh.config import ConfigError

__all__ = ["Engine", "check", "has_password", "make", "without_password"]

_MISSING: Final = "needs the package {package}: pip install 'fastwsh[{extra}]'"

# What macOS has room for, with the zero byte at the end; Linux has for four more.
_MAX_PATH: Final = 103


class Engine(Protocol):
    """One connection to what carries messages. It is used once, and ends by an exception."""

    @property
    def max_bytes(self) -> int:
        """The most bytes of an envelope, once it is connected."""

    async def connect(self) -> None:
        """Connect; raises whatever keeps it from that."""

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Receive what is published to these topics too."""

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Receive it no more."""

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Send envelopes, each with its topic, in this order."""

    def receive(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield what is received: topics and envelopes. Ends only by an exception."""

    async def close(self) -> None:
        """Disconnect; raises nothing."""


def check(url: str) -> None:
    """Find out whether an engine can be made.

    Raises:
        ConfigError: The URL is none of an engine, or its package is missing.
    """
    make(url)


def make(url: str, *, opens: bool = True) -> Engine:
    """Make the engine of a URL.

    Args:
        url: The URL.
        opens: Whether to open the Unix socket if nobody has it open.

    Raises:
        ConfigError: As `check`.
    """
    scheme = url.partition(":")[0]
    try:
        if scheme in ("redis", "rediss"):
            from fastwsh.backplane.redis import RedisEngine  # noqa: PLC0415 (an extra)

            return RedisEngine(_with_host(url))
        if scheme in ("nats", "tls"):
            from fastwsh.backplane.nats import NatsEngine  # noqa: PLC0415 (an extra)

            return NatsEngine(_with_host(url))
    except ImportError as error:
        package = "redis" if scheme.startswith("redis") else "nats-py"
        extra = "redis" if package == "redis" else "nats"
        missing = _MISSING.format(package=package, extra=extra)
        raise ConfigError(f"--backplane {without_password(url)} {missing} ({error})") from error
    except ValueError as error:
        raise ConfigError(f"--backplane {without_password(url)}: {error}") from None
    if (path := unix_path(url)) is not None:
        from fastwsh.backplane.relay import RelayEngine  # noqa: PLC0415 (imports asyncio)

        return RelayEngine(path, opens=opens)
    raise ConfigError(
        f"--backplane {without_password(url)!r} is no backplane; give redis://HOST, rediss://HOST, "
        "nats://HOST, tls://HOST or unix:PATH"
    )


def unix_path(url: str) -> str | None:
    """Return the absolute path of a URL of a Unix socket; None for any other URL.

    Raises:
        ConfigError: There can be no such socket.
    """
    path = url.removeprefix("unix:").removeprefix("//")
    if not url.startswith("unix:") or not path.strip("/"):
        return None
    path = os.path.abspath(path)  # noqa: PTH100 (a string)
    if len(os.fsencode(path)) > _MAX_PATH:
        raise ConfigError(
            f"--backplane unix:{path}: the path of a Unix socket has at most {_MAX_PATH} bytes; "
            "name a shorter one"
        )
    if not os.path.isdir(os.path.dirname(path)):  # noqa: PTH112, PTH120
        raise ConfigError(f"--backplane unix:{path}: its folder does not exist; make it first")
    return path


def has_password(url: str) -> bool:
    """Tell whether a URL contains a password."""
    return without_password(url) != url


def without_password(url: str) -> str:
    """Return a URL for people, with `***` in the place of its password."""
    try:
        parts = urllib.parse.urlsplit(url)
        password = parts.password
    except ValueError:
        return url.partition(":")[0] + ":***"
    if not password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urllib.parse.urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))


def _with_host(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname:
        raise ValueError("it names no host")
    _ = parts.port  # raises ValueError for a bad one
    return url
