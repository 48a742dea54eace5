"""The command `fastwsh`: pauses the garbage collector before everything else is loaded."""

from fastwsh import gc_pause

__all__ = ["script"]


def script() -> int:
    """Run the command `fastwsh`."""
    gc_pause.pause_collection()
    from fastwsh.cli import script as run  # noqa: PLC0415 (after the pause has begun)

    return run()
