"""Pauses the garbage collector while the program loads.

Loading makes tens of thousands of objects that stay, and looking through them for garbage takes a
tenth of the time until the server listens.
"""

import gc

__all__ = ["pause_collection", "resume_collection"]

_paused = False


def pause_collection() -> None:
    """Stop looking for garbage until `resume_collection` is called."""
    global _paused  # noqa: PLW0603 (one for the process, as the collector is)
    _paused = _paused or gc.isenabled()
    gc.disable()


def resume_collection() -> None:
    """Look for garbage again; does nothing if `pause_collection` was not called."""
    global _paused  # noqa: PLW0603
    if _paused:
        _paused = False
        gc.enable()
