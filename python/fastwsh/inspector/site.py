"""The server of the inspector's page: which browsers may see it, and what it consists of.

It listens on 127.0.0.1 only. A token, which the log names, opens the page once; from then on the
browser has a cookie. Requests by another name of the machine (DNS rebinding), and connections from
pages of others, are refused.
"""

import logging
import secrets
import threading
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs

from fastwsh import _core, options
from fastwsh.concurrency.placement import THREADS
from fastwsh.config_error import ConfigError
from fastwsh.inspector.feed import Feed
from fastwsh.inspector.watching import Watcher
from fastwsh.loading import handler_suite
from fastwsh.loading.handler_sources import SourcesDispatcher
from fastwsh.pywebsocket.dispatch import Dispatcher
from fastwsh.pywebsocket.handshake import HandshakeException
from fastwsh.running import session
from fastwsh.server import WebSocketServer
from fastwsh.testing.http_messages import HttpResponse

__all__ = ["Site"]

_HOST: Final = "127.0.0.1"
_FEED: Final = "/feed"
# The native half knows it too.
_ANY_PATH: Final = "*"
_START_SECONDS: Final = 30.0

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_REFUSED: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>fastwsh inspector</title><main><h1>fastwsh inspector</h1><p>{reason}</p></main></html>
"""

_LOGGER: Final = logging.getLogger("fastwsh.server")


class _OnePage(SourcesDispatcher):
    """Has one handler for every path."""

    def get_handler_suite(self, resource: str) -> Any:
        """Return the handler."""
        del resource
        return self._handler_suite_map.get(_ANY_PATH)


class Site(WebSocketServer):
    """Serves the inspector of another server.

    Args:
        source: The server to look at.
        port: The port; 0 is any free one.

    Raises:
        ConfigError: The port cannot be listened on.
    """

    def __init__(self, source: Any, port: int) -> None:
        settings = options.build_parser().parse_args([])
        settings.server_host, settings.port, settings.concurrency = _HOST, port, THREADS
        settings.scan_dir, settings.cgi_directories = settings.websock_handlers, []
        settings.basic_auth_credential = settings.is_executable_method = None
        options.fill_in(settings)
        self._token = secrets.token_urlsafe(24)
        self._session = secrets.token_urlsafe(24)
        self._token_lock = threading.Lock()
        self.source = source
        self.watcher = Watcher(source)
        self._assets = _load()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fastwsh-inspector", daemon=True)
        super().__init__(settings)
        if not self._sockets:
            raise ConfigError(
                f"--inspect cannot listen on port {port} of {_HOST} "
                f"({self.bind_errors[0].strerror}); choose another port, or 0 for any free one"
            )

    @property
    def _tells_addresses(self) -> bool:
        """The log names the URL instead."""
        return False

    @property
    def url(self) -> str:
        """The URL that opens the page, once."""
        return f"http://{_HOST}:{self.server_port}/?token={self._token}"

    def start(self) -> None:
        """Serve, from here on, and tell the operator where."""
        self.watcher.start()
        self._thread.start()
        self._is_up.wait(_START_SECONDS)
        _LOGGER.warning("Inspector on %s (it shows and changes what connections send)", self.url)

    def end(self) -> None:
        """Serve no more."""
        self.watcher.stop()
        WebSocketServer.stop(self, 1)
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.server_close()

    def _serve(self) -> None:
        self._listen_listeners.append(self._is_up.set)
        try:
            with self.logging():
                self.serve_forever()
        finally:
            self._is_up.set()

    def logging(self) -> AbstractContextManager[None]:
        """Return a context in which the lines of the log are those of the server."""
        # a server of tests keeps them for itself
        log = self.source.log
        context: AbstractContextManager[None] = nullcontext() if log is None else log.here()
        return context

    def _log_events(self, core: _core.Server) -> None:
        with self.logging():
            super()._log_events(core)

    def _load_dispatcher(self, options: Any) -> Dispatcher:
        del options
        dispatcher = _OnePage([], owner="the inspector")
        suite = handler_suite.HandlerSuite(
            self._open_feed, self._run_feed, handler_suite.default_passive_closing_handshake
        )
        dispatcher.add_handler(_ANY_PATH, suite)
        return dispatcher

    def _document_root(self) -> str:
        return "/dev/null"

    def _begin_topics(self, core: _core.Server) -> None:
        """Leave topics to the server that is looked at."""

    def _end_topics(self, core: _core.Server) -> None:
        """Leave them there."""

    def _is_ours(self, host: str | None) -> bool:
        port = self.server_port
        return host in {f"{_HOST}:{port}", f"localhost:{port}"}

    @property
    def _cookie(self) -> str:
        # browsers do not tell ports apart
        return f"fastwsh-inspector-{self.server_port}"

    def _has_cookie(self, header: str | None) -> bool:
        for part in (header or "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie and secrets.compare_digest(
                value.encode(), self._session.encode()
            ):
                return True
        return False

    def _spend(self, token: str) -> bool:
        """Tell whether a token opens the page, and make the next one in its place."""
        with self._token_lock:
            if not secrets.compare_digest(token.encode(), self._token.encode()):
                return False
            self._token = secrets.token_urlsafe(24)
        _LOGGER.warning("Inspector opened; another browser can open %s", self.url)
        return True

    def answer(self, connection: _core.Connection) -> HttpResponse:
        """Return the answer to a request that is for no feed."""
        host = connection.header("Host")
        if not self._is_ours(host):
            return self._refusal("This name is not that of the inspector: use 127.0.0.1.")
        if connection.method not in {"GET", "HEAD"}:
            return HttpResponse(405, headers={"Allow": "GET, HEAD"})
        path, _, query = connection.resource.partition("?")
        headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY.format(host=host),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if not self._has_cookie(connection.header("Cookie")):
            token = parse_qs(query).get("token", [""])[0]
            if path != "/" or not self._spend(token):
                return self._refusal(
                    "This page needs the URL with a token that the server's log names last; each "
                    "opens it once."
                )
            headers["Set-Cookie"] = (
                f"{self._cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"
            )
        found = self._assets.get("index.html" if path == "/" else path.removeprefix("/"))
        if found is None:
            return HttpResponse(404, headers=headers, body="There is no such page.\n")
        headers["Content-Type"], body = found
        return HttpResponse(headers=headers, body=body)

    @staticmethod
    def _refusal(reason: str) -> HttpResponse:
        headers = {
            "Content-Type": _TYPES[".html"],
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'",
        }
        return HttpResponse(403, headers=headers, body=_REFUSED.format(reason=reason).encode())

    def _run_page(self, connection: _core.Connection) -> None:
        try:
            connection.write(self.answer(connection).format(connection.method))
        except ConnectionError:
            # the browser has gone
            return
        finally:
            connection.flush()

    def _open_feed(self, request: Any) -> None:
        """Refuse connections that are not from our page, in a browser that has opened it."""
        headers = request.headers_in
        host = headers.get("Host")
        if request.ws_resource != _FEED:
            raise HandshakeException("there is no such feed", 404)
        if not self._is_ours(host) or headers.get("Origin") != f"http://{host}":
            raise HandshakeException("the feed is for the inspector's page", 403)
        if not self._has_cookie(headers.get("Cookie")):
            raise HandshakeException("the feed needs the cookie of the inspector's page", 403)

    def _run_feed(self, request: Any) -> None:
        Feed(request.ws_stream, self.watcher).run()


def _run(connection: _core.Connection) -> None:
    upgrade = (connection.header("Upgrade") or "").lower()
    with connection.server.logging():
        if upgrade == "websocket":
            session.run(connection)
        else:
            connection.server._run_page(connection)


Site._run_connection = staticmethod(_run)


def _load() -> dict[str, tuple[str, bytes]]:
    """Return the files of the page, by name, with their types."""
    folder = resources.files("fastwsh.inspector") / "page"
    return {
        entry.name: (_TYPES["." + entry.name.rpartition(".")[2]], entry.read_bytes())
        for entry in folder.iterdir()
        if entry.is_file()
    }
