"""Which event loop runs in the calling thread; imports neither asyncio nor trio for that."""

import sys
from typing import Any

__all__ = ["asyncio_runs", "running_trio"]


def asyncio_runs() -> bool:
    """Return whether an event loop of asyncio runs in the calling thread."""
    asyncio: Any = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def running_trio() -> Any:
    """Return trio if it runs in the calling thread."""
    trio: Any = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
    return trio
