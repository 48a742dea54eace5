"""The keyword arguments of `connect`, for all its forms: names, types and defaults."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Self, TypedDict

from fastwsh.errors import ConnectArgumentError

__all__ = ["ConnectOptions", "Options", "check_url", "proxy_variables"]

DEFAULT_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

_PROXY_VARIABLES: Final = (
    "ws_proxy",
    "wss_proxy",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)

_Headers = Mapping[str, str] | Iterable[tuple[str, str]]
_Path = str | os.PathLike[str]

# What an option must be, in words for who gives something else.
_TYPES: Final = (
    (bool, "True or False", ("compression", "verify")),
    (Iterable, "a sequence of str", ("subprotocols",)),
    (Iterable | None, "a mapping, or pairs, of str", ("headers",)),
    (str | None, "a str or None", ("origin", "server_hostname")),
    (str | bool | None, "a URL, True or None", ("proxy",)),
    (
        str | os.PathLike | None,
        "the path of a PEM file or None",
        ("ca_file", "certificate", "private_key"),
    ),
)

_TLS_REMEDY: Final = "use ca_file, verify, certificate and server_hostname: its TLS is not Python's"
_PING_REMEDY: Final = "nothing pings in the background: call ping() and wait_pong()"

# What other clients call it, and what to write here.
_ELSEWHERE: Final = {
    "additional_headers": "use headers",
    "heartbeat": _PING_REMEDY,
    "max_msg_size": "use max_message_bytes",
    "max_size": "use max_message_bytes",
    "ping_interval": _PING_REMEDY,
    "ping_timeout": _PING_REMEDY,
    "ssl": _TLS_REMEDY,
    "ssl_context": _TLS_REMEDY,
    "sslopt": _TLS_REMEDY,
    "user_agent_header": "use headers={'User-Agent': ...}",
}


class ConnectOptions(TypedDict, total=False):
    """The keyword arguments of `connect`; `Options` describes each."""

    subprotocols: Sequence[str]
    headers: _Headers | None
    origin: str | None
    compression: bool
    http_version: Literal[1, 2]
    open_timeout: float | None
    close_timeout: float | None
    max_message_bytes: int | None
    ca_file: _Path | None
    verify: bool
    certificate: _Path | None
    private_key: _Path | None
    server_hostname: str | None
    proxy: str | bool | None
    on_head: Callable[[str, bytes], object] | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to connect.

    Args:
        subprotocols: Subprotocols to ask for, the preferred one first (RFC 6455 1.9). The server
            may choose none.
        headers: Headers to add to the opening request: a mapping, or pairs if a name occurs twice.
        origin: The Origin header; browsers send one, and servers may require it (RFC 6455 10.2).
        compression: Whether to offer permessage-deflate (RFC 7692).
        http_version: 2 opens the WebSocket on a stream of HTTP/2 (RFC 8441). Over TLS the server
            must choose it; without TLS it must expect it.
        open_timeout: Seconds for name lookup, TCP, TLS and the opening handshake together; None: no
            limit. The default is 10, since a server that works answers within one or two.
        close_timeout: Seconds for the closing handshake, after which the connection is cut; None:
            no limit. The default is 10, as for opening.
        max_message_bytes: Longer messages, compressed or inflated, fail the connection with 1009;
            None: no limit. The default is 64 MiB, since the peer decides how much this process must
            allocate.
        ca_file: PEM file of the CA certificates to trust instead of the system's, which
            SSL_CERT_FILE and SSL_CERT_DIR may replace.
        verify: Whether to check the server's certificate. Without that, anybody between client and
            server can read and change everything.
        certificate: PEM file of a client certificate and its chain.
        private_key: PEM file of its key; None: the certificate's file has it.
        server_hostname: The name that the certificate must have and that is requested from the
            server (SNI); None: the URL's.
        proxy: The URL of a proxy to connect through: `http://` (by CONNECT), `socks5://`, or
            `socks5h://` (the proxy looks up the server's name). `USER:PASSWORD@` may precede the
            host. True: the one that the environment names, see `proxy_variables`. None or False: no
            proxy.
        on_head: Called with `">"` or `"<"` and the bytes of each HTTP head that is sent or received
            while connecting, including credentials; any thread may call it. Over HTTP/2 it has a
            line for each field, such as `:status: 200`.
    """

    subprotocols: Sequence[str] = ()
    headers: _Headers | None = None
    origin: str | None = None
    compression: bool = True
    http_version: Literal[1, 2] = 1
    open_timeout: float | None = 10
    close_timeout: float | None = 10
    max_message_bytes: int | None = DEFAULT_MAX_MESSAGE_BYTES
    ca_file: _Path | None = None
    verify: bool = True
    certificate: _Path | None = None
    private_key: _Path | None = None
    server_hostname: str | None = None
    proxy: str | bool | None = True
    on_head: Callable[[str, bytes], object] | None = None

    @classmethod
    def from_keywords(cls, keywords: ConnectOptions) -> Self:
        """Return the options of a call.

        Raises:
            TypeError: There is no option of such a name.
        """
        try:
            return cls(**keywords)
        except TypeError:
            import difflib  # noqa: PLC0415 (only a mistake needs it)

            known = [field.name for field in fields(cls)]
            name = next(name for name in keywords if name not in known)
            nearest = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(known)}"
            hint = _ELSEWHERE.get(name, hint)
            raise TypeError(f"{name!r} is no option of connect; {hint}") from None

    def to_core(self) -> dict[str, Any]:
        """Return the dict for `_core.connect`.

        Raises:
            ConnectArgumentError: A text has lone surrogates.
            TypeError: An argument is of another type.
            ValueError: A number that is not above 0, or a private key without a certificate.
        """
        if self.private_key is not None and self.certificate is None:
            raise ValueError("private_key needs a certificate; name its file with certificate=")
        _check_seconds("open_timeout", self.open_timeout)
        _check_seconds("close_timeout", self.close_timeout)
        _check_bytes("max_message_bytes", self.max_message_bytes)
        if self.http_version not in (1, 2):
            raise ValueError(f"http_version is {self.http_version!r}; give 1 or 2")
        for types, wanted, names in _TYPES:
            for name in names:
                if not isinstance(value := getattr(self, name), types):
                    raise TypeError(f"{name} is {value!r}; give {wanted}")
        if not (self.on_head is None or callable(self.on_head)):
            raise TypeError(f"on_head is {self.on_head!r}, which cannot be called")
        subprotocols = _strings("subprotocols", self.subprotocols)
        given = self.headers or ()
        pairs = given.items() if isinstance(given, Mapping) else given
        headers = [_pair(pair) for pair in pairs]
        if self.origin is not None:
            headers.append(("Origin", self.origin))
        _check_text("the header", (text for pair in headers for text in pair))
        _check_text("the subprotocol", subprotocols)
        _check_text("server_hostname", [self.server_hostname or ""])
        _check_text("the proxy", [self.proxy if isinstance(self.proxy, str) else ""])
        identity = None
        if self.certificate is not None:
            certificate = _path("certificate", self.certificate)
            identity = (certificate, _path("private_key", self.private_key) or certificate)
        return {
            "headers": headers,
            "subprotocols": subprotocols,
            "compression": self.compression,
            "http_version": int(self.http_version),
            "open_timeout": self.open_timeout,
            "max_message_bytes": self.max_message_bytes,
            "ca_file": _path("ca_file", self.ca_file),
            "verify": self.verify,
            "identity": identity,
            "server_hostname": self.server_hostname,
            "proxy": self.proxy if isinstance(self.proxy, str) else None,
            "proxy_variables": proxy_variables() if self.proxy is True else {},
            "on_head": self.on_head,
            "head": None,
        }


def check_url(url: object) -> None:
    """Raise TypeError if a URL is no str."""
    if not isinstance(url, str):
        raise TypeError(f"url={url!r}; give a str such as 'ws://localhost:9998/'")


def proxy_variables() -> dict[str, str]:
    """Return the environment variables that name proxies, in lower case.

    For `wss://` the first of WSS_PROXY, HTTPS_PROXY and ALL_PROXY that is not empty; for `ws://` of
    WS_PROXY, HTTPS_PROXY, HTTP_PROXY and ALL_PROXY (RFC 6455 4.1). NO_PROXY lists the servers that
    are reached without a proxy. A name in lower case takes precedence, as in other programs.
    """
    variables: dict[str, str] = {}
    for name in _PROXY_VARIABLES:
        # Looking for a variable that is not set takes long, so this looks for few.
        if name == "no_proxy" and not variables:
            break
        value = os.environ.get(name)
        if value is None:
            value = os.environ.get(name.upper())
            if value is None or (name == "http_proxy" and "REQUEST_METHOD" in os.environ):
                # In a CGI program, a client could set it by a header named Proxy.
                continue
        # Bytes that are not UTF-8 are no part of any server's name.
        variables[name] = os.fsencode(value).decode(errors="replace")
    return variables


def _check_seconds(name: str, value: float | None) -> None:
    if value is None:
        return
    if not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {value!r}; give a number above 0, or None for no limit")
    # `not <` instead of `>=`, so that NaN is refused as well, and what is too large for a float.
    if not 0 < value < sys.float_info.max:
        raise ValueError(f"{name} is {value}; give a number above 0, or None for no limit")


def _check_bytes(name: str, value: int | None) -> None:
    if value is None:
        return
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}; give a whole number above 0, or None for no limit")
    if not 0 < value <= sys.maxsize:
        raise ValueError(f"{name} is {value}; give a number above 0, or None for no limit")


def _check_text(name: str, texts: Iterable[str]) -> None:
    """Refuse lone surrogates, such as Python makes of bytes that are not UTF-8 (PEP 383)."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConnectArgumentError(
                f"cannot use {name} {text!r}: it has a lone surrogate, which is no character"
            ) from None


def _path(name: str, path: _Path | None) -> str | None:
    if path is None:
        return None
    text = os.fsdecode(path)
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ConnectArgumentError(
            f"cannot use {name} {text!r}: it has a character that no name of a file has"
        ) from None
    return text


def _strings(name: str, given: Iterable[object]) -> list[str]:
    if isinstance(given, str):
        raise TypeError(f"{name} must be a sequence; write [{given!r}]")
    strings = list(given)
    for item in strings:
        if not isinstance(item, str):
            raise TypeError(f"{name} has {item!r}, which is no str")
    return [str(item) for item in strings]


def _pair(pair: object) -> tuple[str, str]:
    match pair:
        case (str(name), str(value)):
            return name, value
    raise TypeError(f"headers has {pair!r}; give a mapping, or pairs, of str")
