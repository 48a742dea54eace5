"""The native part of a program's own event loop, which stays for as long as the loop is open.

To make one takes a fifth of the time of connecting and closing, so it is made for the first
connection only. The event loop owns it, as the reader of its descriptor, and lets go of it when it
is closed.
"""

import asyncio
import weakref
from typing import Final

from fastwsh import _core

__all__ = ["of_running_loop"]

_NATIVE: Final[
    weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_core.EventLoop]]
] = weakref.WeakKeyDictionary()


def of_running_loop() -> _core.EventLoop:
    """Return the native part of the running event loop."""
    loop = asyncio.get_running_loop()
    known = _NATIVE.get(loop)
    native = None if known is None else known()
    if native is None:
        native = _core.EventLoop(loop)
        loop.add_reader(native.fileno(), native.run)
        _NATIVE[loop] = weakref.ref(native)
    return native
