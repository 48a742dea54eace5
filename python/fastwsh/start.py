"""The command `fastwsh`: gets ready for interrupts, and pauses the garbage collector, first."""

from fastwsh.process import gc_pause, interrupts

__all__ = ["script"]


def script() -> int:
    """Run the command `fastwsh`."""
    with interrupts.EndingAtInterrupts():
        gc_pause.pause_collection()
        from fastwsh.cli import script as run  # noqa: PLC0415 (after the pause has begun)

    return run()
