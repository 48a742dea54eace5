"""Faults of the opening handshake: answers that are late, wrong, or no answers.

Each fault is for one path or all, and for a number of handshakes or all. They have their turn in
the order in which they were asked for: one that only delays lets the next one have it as well.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fastwsh.pywebsocket.handshake import AbortedByUserException, HandshakeException
from fastwsh.testing.arguments import check_bytes
from fastwsh.testing.functions import call, check_function
from fastwsh.testing.handshakes import Handshake
from fastwsh.testing.http_messages import HttpResponse

__all__ = ["HandshakeFaults"]

# Base64 of twenty zero bytes: well formed, and the answer to no key that is known.
_WRONG_ACCEPT: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
)


@dataclass
class _Fault:
    path: str | None
    left: int | None
    apply: Callable[[Any], None]
    when: Callable[[Handshake], object] | None = None


class HandshakeFaults:
    """The faults of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []
        self._released = threading.Event()

    def add(
        self,
        apply: Callable[[Any], None],
        path: str | None,
        times: int | None,
        when: Callable[[Handshake], object] | None = None,
    ) -> None:
        """Add a fault.

        Args:
            apply: Called with the request; raises if the handshake is over with that.
            path: For which path; None: every one.
            times: For how many handshakes; None: all.
            when: Says of a handshake whether the fault is for it; None: for all.

        Raises:
            TypeError, ValueError: `times` is no number from 0 on, or `when` no function.
        """
        if times is not None:
            if isinstance(times, bool) or not isinstance(times, int):
                raise TypeError(f"times={times!r}; give the number of handshakes, or None for all")
            if times < 0:
                raise ValueError(
                    f"times is {times}; give the number of handshakes, or None for all"
                )
        if when is not None:
            check_function(when, "when")
        with self._lock:
            self._faults.append(_Fault(path, times, apply, when))

    def apply(self, request: Any, handshake: Handshake) -> None:
        """Apply the fault for a handshake to it.

        Raises:
            Exception: What `when` raises.
            HandshakeException: It is refused.
            AbortedByUserException: It is over without an answer of the server's own.
        """
        path = request.ws_resource.partition("?")[0]
        with self._lock:
            faults = [fault for fault in self._faults if fault.path in (None, path)]
        for fault in faults:
            if (fault.when is None or call(fault.when, handshake)) and self._take(fault):
                fault.apply(request)

    def _take(self, fault: _Fault) -> bool:
        with self._lock:
            if fault.left == 0:
                return False
            if fault.left is not None:
                fault.left -= 1
            return True

    def clear(self) -> None:
        """Forget all faults, and let go of the handshakes that hang."""
        with self._lock:
            self._faults.clear()
        self.release()

    def release(self) -> None:
        """Let go of the handshakes that hang."""
        with self._lock:
            self._released.set()
            self._released = threading.Event()

    def rejection(self, status: int, response: HttpResponse | None = None) -> Callable[[Any], None]:
        """Answer with this status, and with headers and body of a response if there is one."""
        if response is None:
            HttpResponse(status)

        def reject(request: Any) -> None:
            if response is None:
                raise HandshakeException("the test server rejects it", status)
            request._refused_with = status
            request.connection.write(response.format(request.method))
            raise AbortedByUserException(f"the test server rejects it with {status}")

        return reject

    def raw(self, data: bytes) -> Callable[[Any], None]:
        """Answer with these bytes, and close. Raises TypeError if they are none."""
        check_bytes(data, "raw")

        def answer(request: Any) -> None:
            if data:
                request.connection.write(data)
            raise AbortedByUserException("the test server has answered in raw bytes")

        return answer

    def wrong_accept(self) -> Callable[[Any], None]:
        """Answer 101 with a Sec-WebSocket-Accept that belongs to another key, and close."""
        return self.raw(_WRONG_ACCEPT)

    def delay(self, seconds: float) -> Callable[[Any], None]:
        """Wait before the answer."""

        def wait(_: Any) -> None:
            self._released.wait(seconds)

        return wait

    def hang(self) -> Callable[[Any], None]:
        """Answer nothing until the fault is cleared; then close."""

        def wait(_: Any) -> None:
            self._released.wait()
            raise AbortedByUserException("the test server has let go of it")

        return wait

    def acceptance(self, count: int, status: int) -> Callable[[Any], None]:
        """Accept so many, and answer the others with this status.

        Raises:
            TypeError, ValueError: `count` is no number from 0 on, or the status is none.
        """
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"accept {count!r}; give the number of handshakes to accept")
        if count < 0:
            raise ValueError(f"accept {count}; give the number of handshakes to accept")
        reject = self.rejection(status)
        lock, left = threading.Lock(), [count]

        def apply(request: Any) -> None:
            with lock:
                left[0] -= 1
                is_over = left[0] < 0
            if is_over:
                reject(request)

        return apply
