"""Where handlers run: in the hub, a thread that they share, or each in a thread of its own.

`check` looks whether a handler can share a thread; `executor` decides.
"""

from fastwsh.concurrency.check import why_threads

__all__ = ["why_threads"]
