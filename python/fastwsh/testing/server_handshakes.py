"""How a test server answers opening handshakes, and other requests, when it is asked to."""

from collections.abc import Callable
from typing import Any

from fastwsh.testing import negotiation
from fastwsh.testing.arguments import check_path, check_seconds
from fastwsh.testing.connection import Connection
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.expectation import MISSING
from fastwsh.testing.faults import HandshakeFaults
from fastwsh.testing.handshakes import Handshake
from fastwsh.testing.http_messages import Headers, HttpResponse, to_headers
from fastwsh.testing.http_paths import HttpPath

__all__ = ["ServerHandshakes"]


class ServerHandshakes:
    """The opening handshakes of a test server.

    What is said here is for the handlers of files as well, and has its turn in the order of the
    calls. Two arguments are the same in all methods, which raise TypeError or ValueError if one
    cannot be used:

    - `path`: for which path, such as "/chat"; None: every one. If nothing serves the path ("/" for
      None), most methods add a handler that takes every message and says nothing.
    - `times`: for how many opening handshakes; None: all, until `clear`.
    """

    _dispatcher: RecordingDispatcher
    _added: set[str]

    def __init__(self) -> None:
        self._faults = HandshakeFaults()

    def reject(
        self,
        status: int,
        *,
        headers: Headers | None = None,
        body: str | bytes = b"",
        json: Any = MISSING,
        when: Callable[[Handshake], object] | None = None,
        path: str | None = None,
        times: int | None = None,
    ) -> None:
        """Refuse opening handshakes with this status.

        Args:
            status: 200 to 599.
            headers: Headers of the answer, such as `{"Retry-After": "1"}` or `{"Location": url}`.
            body: Its body; a text is sent in UTF-8. Without headers and body a page names the
                status.
            json: A value whose JSON is the body.
            when: Gets each handshake, with its headers, and returns whether to refuse it. What it
                raises fails the test.
            path: The path; one without a handler gets one that takes everything and says nothing.
                None: all paths that have a handler, and `/`.
            times: For how many handshakes, of those that `when` is for; None: all, until `clear`.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        response = None
        if headers is not None or body or json is not MISSING:
            response = HttpResponse(status, headers=headers, body=body, json=json)
        self._add_fault(self._faults.rejection(status, response), path, times, when)

    def raw(self, data: bytes, *, path: str | None = None, times: int | None = None) -> None:
        """Answer opening handshakes with these bytes, perhaps none, and close the connection."""
        self._add_fault(self._faults.raw(data), path, times)

    def wrong_accept(self, *, path: str | None = None, times: int | None = None) -> None:
        """Answer with a Sec-WebSocket-Accept that does not belong to the client's key."""
        self._add_fault(self._faults.wrong_accept(), path, times)

    def delay(self, seconds: float, *, path: str | None = None, times: int | None = None) -> None:
        """Answer opening handshakes so many seconds late.

        Raises:
            TypeError, ValueError: It is no number of seconds, or one for which no thread can wait.
        """
        check_seconds(seconds, "delay")
        self._add_fault(self._faults.delay(seconds), path, times)

    def hang(self, *, path: str | None = None, times: int | None = None) -> None:
        """Do not answer opening handshakes; their connections are closed by `clear` or `stop`."""
        self._add_fault(self._faults.hang(), path, times)

    def accept(self, count: int, *, then: int = 503, path: str | None = None) -> None:
        """Accept so many opening handshakes, and refuse the others with the status `then`.

        Raises:
            TypeError, ValueError: `count` is no number from 0 on, or `then` no status of a refusal.
        """
        self._add_fault(self._faults.acceptance(count, then), path, None)

    def ignore_subprotocols(self, *, path: str | None = None, times: int | None = None) -> None:
        """Open connections without a subprotocol, whatever clients offer.

        As servers do that speak none; clients that need theirs then close (RFC 6455 4.1).
        """
        self._negotiate(negotiation.ignore_subprotocols, path, times)

    def decline_deflate(self, *, path: str | None = None, times: int | None = None) -> None:
        """Open connections without compression, whatever clients offer."""
        self._negotiate(negotiation.decline_deflate, path, times)

    def deflate(
        self,
        *,
        server_max_window_bits: int | None = None,
        client_max_window_bits: int | None = None,
        server_no_context_takeover: bool = False,
        client_no_context_takeover: bool = False,
        path: str | None = None,
        times: int | None = None,
    ) -> None:
        """Agree to permessage-deflate with these parameters (RFC 7692 7.1), if it is offered.

        Args:
            server_max_window_bits: 8 to 15: the server's window; a lower one that the client asks
                for counts. None: what the client asks for.
            client_max_window_bits: 8 to 15: the client's window. An offer that does not allow to
                limit it is declined. None: no limit.
            server_no_context_takeover: Whether the server compresses each message by itself.
            client_no_context_takeover: Whether the client has to.
            path: The path; None: all.
            times: For how many handshakes; None: all, until `clear`.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        chosen = negotiation.choose_deflate(
            server_max_window_bits=server_max_window_bits,
            client_max_window_bits=client_max_window_bits,
            server_no_context_takeover=server_no_context_takeover,
            client_no_context_takeover=client_no_context_takeover,
        )
        self._negotiate(chosen, path, times)

    def add_headers(
        self, headers: Headers, *, path: str | None = None, times: int | None = None
    ) -> None:
        """Add headers to the answers that open connections, such as Set-Cookie.

        Raises:
            TypeError, ValueError: They are no headers.
        """
        self._negotiate(negotiation.add_headers(to_headers(headers)), path, times)

    def http(self, path: str, *, method: str | None = None) -> HttpPath:
        """Answer plain HTTP requests for a path, as the step before many protocols' WebSocket.

        A path may have a handler as well, unless that is a coroutine function: it gets the opening
        handshakes. Requests over HTTP/2 and HTTP/3 get no answer: their streams are reset.

        Args:
            path: The path; requests with any query are for it.
            method: The method; None: all without answers of their own.

        Returns:
            The answers, at first 200 without a body; `respond` adds one.

        Raises:
            TypeError, ValueError: An argument cannot be used, or a coroutine function serves the
                path.
        """
        path = check_path(path)
        if method is not None and not isinstance(method, str):
            raise TypeError(f"method={method!r}; give a str such as 'POST'")
        answers, is_new = self._dispatcher.add_http(path, method)
        if is_new:
            self._added.add(path)
        return answers

    def _add_fault(
        self,
        fault: Callable[[Any], None],
        path: str | None,
        times: int | None,
        when: Callable[[Handshake], object] | None = None,
    ) -> None:
        place = None if path is None else check_path(path)
        self._listen_at(place or "/")
        self._faults.add(fault, place, times, when)

    def _negotiate(self, apply: Callable[[Any], None], path: str | None, times: int | None) -> None:
        self._faults.add(apply, None if path is None else check_path(path), times)

    def _listen_at(self, path: str) -> None:
        if not self._dispatcher.serves(path):
            self._dispatcher.add_function(path, _take_everything)
            self._added.add(path)


def _take_everything(connection: Connection) -> None:
    for _ in connection:
        pass
