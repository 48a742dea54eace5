"""Where a test server is, and what its clients have to trust."""

import ssl
from os import PathLike, fspath
from pathlib import Path

from fastwsh.testing.tls import TlsFiles

__all__ = ["ServerAddress"]


class ServerAddress:
    """The address of a test server.

    Args:
        host: The address that it listens on.
        uds: The Unix socket that it listens on instead.
        tls: Its certificate.
    """

    _port: int

    def __init__(self, host: str, uds: str | PathLike[str] | None, tls: TlsFiles | None) -> None:
        self._host, self._tls = host, tls
        self._uds = None if uds is None else fspath(uds)

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens on; 0 if it listens on a Unix socket."""
        return self._port

    @property
    def uds(self) -> str | None:
        """The path of the Unix socket that it listens on, if it does."""
        return self._uds

    @property
    def url(self) -> str:
        """The URL of the path `/`."""
        return self.url_for("/")

    def url_for(self, path: str) -> str:
        """Return the URL of a path; a slash in front of it may be left out.

        That of a Unix socket is `ws+unix:///path/of.sock:/resource`, as `fastwsh.connect` and the
        package ws of Node.js have it. Others connect to `uds`, and to ws://localhost/resource.

        Raises:
            TypeError: It is no str.
        """
        if not isinstance(path, str):
            raise TypeError(f"path {path!r}; give a str such as '/chat'")
        scheme = "ws" if self._tls is None else "wss"
        if self._uds is not None:
            return f"{scheme}+unix://{Path(self._uds).absolute()}:/{path.removeprefix('/')}"
        # an empty host is every address of the machine
        host = f"[{self._host}]" if ":" in self._host else self._host or "localhost"
        return f"{scheme}://{host}:{self._port}/{path.removeprefix('/')}"

    @property
    def ca_file(self) -> str:
        """The PEM file with what clients of the wss:// URL have to trust.

        Raises:
            ValueError: The server speaks no TLS.
        """
        return self._tls_files().ca_file

    def client_ssl_context(self) -> ssl.SSLContext:
        """Make a context for clients of the wss:// URL, which trusts this server only.

        Raises:
            ValueError: The server speaks no TLS.
        """
        return self._tls_files().client_context()

    def _tls_files(self) -> TlsFiles:
        if self._tls is None:
            raise ValueError(
                f"{self.url} is served without TLS; use the fixture wss_server, or tls="
            )
        return self._tls
