"""What carries messages between servers, chosen by a URL."""

import os
import re
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Protocol

from fastwsh.config_error import ConfigError

__all__ = ["Engine", "check", "has_password", "make", "without_password"]

_MISSING: Final = "needs the package {package}: pip install 'fastwsh[{extra}]'"

# What macOS has room for, with the zero byte at the end; Linux has for four more.
_MAX_PATH: Final = 103

_NATS: Final = ("nats", "tls")

# What stands behind the user and password of a URL, and before its words.
_PLACE: Final = re.compile(
    r"(?P<host>\[[^\]]*\]|[^:\[\]/]*)(?::(?P<rest>.*))?(?:/[^:]*)?", re.DOTALL
)
_PORT_AND_PATH: Final = re.compile(r"[0-9]*(/.*)?", re.DOTALL)
_SECOND_URL: Final = re.compile(r",\s*[a-z]+://")
_DATABASE: Final = re.compile(r"/?[0-9]*/?")
# Names of words whose values are secrets.
_SECRET: Final = re.compile(r"pass|token|secret|credential", re.IGNORECASE)


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

            return RedisEngine(_checked(url))
        if scheme in _NATS:
            from fastwsh.backplane.nats import NatsEngine  # noqa: PLC0415 (an extra)

            return NatsEngine(_checked(url))
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
    if "\0" in path:
        raise ConfigError(f"--backplane {url!r}: a path has no zero byte; leave it out")
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
    """Tell whether a URL contains a password, or a token of NATS."""
    return without_password(url) != url


def without_password(url: str) -> str:
    """Return a URL for people, with `***` in the place of its secrets.

    This also works for a text that is no URL because the password is not escaped: what may be a
    part of the password is not shown.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "unix":
        return url
    slashes = "//" if rest.startswith("//") else ""
    if rest and not slashes:
        return f"{scheme}:***"
    login, at, place = rest.removeprefix("//").rpartition("@")
    place, _, fragment = place.partition("#")
    place, question, query = place.partition("?")
    parts = _PLACE.fullmatch(place)
    if parts is None:
        place = "***"
    elif parts["rest"] is not None and not _PORT_AND_PATH.fullmatch(parts["rest"]):
        # of a URL without a host this is the password
        place = f"{parts['host']}:***"
    words = "&".join(map(_without_value, query.split("&"))) if query else ""
    fragment = "#***" if fragment else ""
    login = _without_secret(scheme, login)
    return f"{scheme}{colon}{slashes}{login}{at}{place}{question}{words}{fragment}"


def _without_secret(scheme: str, login: str) -> str:
    user, colon, password = login.partition(":")
    if any(sign in login for sign in "/?#@"):
        return "***"
    if not colon:
        # NATS takes what stands alone for a token
        return "***" if login and scheme in _NATS else login
    return f"{user}:***" if password else login


def _without_value(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}{equals}***" if value and _SECRET.search(name) else word


def _checked(url: str) -> str:
    """Return the URL; raise ValueError, without a secret in its text, if it cannot be used."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        # what Python says has parts of the password in it
        raise ValueError("its host cannot be read; in a password write %5B for [") from None
    if _SECOND_URL.search(url) or "," in parts.netloc.rpartition("@")[2]:
        raise ValueError("it names several hosts; name one, which tells of the others")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" or parts.fragment:
        raise ValueError(
            "it has a / ? or # where none belongs; in a password write %2F, %3F and %23"
        )
    if not parts.hostname:
        raise ValueError("it names no host")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port is no number from 0 to 65535") from None
    if parts.scheme in _NATS:
        if parts.path.strip("/") or parts.query:
            raise ValueError("it has a path or words behind its host, which mean nothing to NATS")
    elif not _DATABASE.fullmatch(parts.path):
        raise ValueError("its path is no number of a database, as in redis://HOST/0")
    return url
