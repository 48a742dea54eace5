"""The streams of an HTTP/3 connection, by both of their numbers, and those that are over."""

from typing import TYPE_CHECKING, Final

from fastwsh.http3.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Streams"]

# When more reset streams than this are remembered, those that QUIC has forgotten are left out.
_MAX_DEAD: Final = 64

# The numbers of a client's request streams are this far apart (RFC 9000 2.1).
_NUMBER_STEP: Final = 4


class Streams:
    """The streams with a request that has no complete answer yet, in the order of their arrival.

    Args:
        is_known: Tells whether QUIC still has a stream of this number.

    Attributes:
        paced: Those whose bytes the client has still to take.
        next_id: The lowest number that no request has had, which GOAWAY names (RFC 9114 5.2).
    """

    def __init__(self, is_known: "Callable[[int], bool]") -> None:
        self._is_known = is_known
        self._by_outer: dict[int, Stream] = {}
        self._by_inner: dict[int, Stream] = {}
        self._dead: set[int] = set()
        self.paced: set[Stream] = set()
        self.next_id = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_outer)

    def all(self) -> list[Stream]:
        """Return them in a list of its own, so that they may be removed meanwhile."""
        return list(self._by_outer.values())

    def find(self, outer: int) -> Stream | None:
        """Return the stream of this number in QUIC."""
        return self._by_outer.get(outer)

    def find_inner(self, inner: int) -> Stream | None:
        """Return the stream of this number in the inner connection."""
        return self._by_inner.get(inner)

    def note_request(self, outer: int) -> None:
        """Note that a request has come on a stream, served or not."""
        self.next_id = max(self.next_id, outer + _NUMBER_STEP)

    def add(self, stream: Stream) -> None:
        """Add a stream that is open on both sides."""
        self._by_outer[stream.outer] = self._by_inner[stream.inner] = stream

    def remove(self, stream: Stream) -> None:
        """Remove a stream that is over, if it is still there."""
        self._by_outer.pop(stream.outer, None)
        self._by_inner.pop(stream.inner, None)
        self.paced.discard(stream)

    def bury(self, outer: int) -> None:
        """Remember that what still comes on a stream is to be ignored."""
        self._dead.add(outer)
        if len(self._dead) > _MAX_DEAD:
            self._dead = {dead for dead in self._dead if self._is_known(dead)}

    def is_dead(self, outer: int) -> bool:
        """Tell whether a stream was reset, so that what still comes on it is to be ignored."""
        return outer in self._dead
