"""Which event loop runs in the calling thread; imports neither asyncio nor trio for that.

Another thread may be importing them, and they lack names until it has done so. Then none runs here.
"""

import sys
from typing import Any

__all__ = ["asyncio_runs", "running_trio"]


def asyncio_runs() -> bool:
    """Return whether an event loop of asyncio runs in the calling thread."""
    asyncio: Any = sys.modules.get("asyncio")
    get_loop = getattr(asyncio, "_get_running_loop", None)
    return get_loop is not None and get_loop() is not None


def running_trio() -> Any:
    """Return trio if it runs in the calling thread."""
    trio: Any = sys.modules.get("trio")
    get_token = getattr(getattr(trio, "lowlevel", None), "current_trio_token", None)
    if get_token is None:
        return None
    try:
        get_token()
    except RuntimeError:
        return None
    return trio
