"""Writes to standard output: each failure is one sentence, and none is printed at exit."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = ["GONE", "OutputError", "Parser", "ProgramParser", "reserve_descriptors", "write"]

# What a shell has for a process that SIGPIPE ended, as it ends other programs.
GONE: Final = 141

_STDERR: Final = 2


class Parser(argparse.ArgumentParser):
    """Ends the process with status 1 and a sentence if its help cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stderr:
            super()._print_message(message, file)
            return
        try:
            write(file, message)
        except BrokenPipeError:
            self.exit(GONE)
        except OutputError as error:
            self.exit(1, f"{self.prog.removeprefix('python -m ')}: {error}\n")


class ProgramParser(Parser):
    """The parser of a program of this package; its help is the program's manual.

    Args:
        module: The module to run, such as fastwsh.client.
        description: What the program does, in a sentence.
        epilog: What follows the options, line by line.
    """

    def __init__(self, module: str, description: str, epilog: str | None = None) -> None:
        from fastwsh import __version__  # noqa: PLC0415 (loads the native module)

        super().__init__(
            prog=f"python -m {module}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"fastwsh {__version__}")


class OutputError(Exception):
    """Standard output cannot be written to; the text is a sentence."""


def write(out: Any, data: str | bytes) -> None:
    """Write to `out` at once.

    Args:
        out: `sys.stdout` or its replacement; None: it is closed.
        data: The text to write, or bytes, which are not encoded.

    Raises:
        BrokenPipeError: The reader has gone.
        OutputError: It cannot be written.
    """
    try:
        _file(out, data).write(data)
        out.flush()
    except (OSError, ValueError) as error:
        raise _failure(out, error) from None


def reserve_descriptors() -> None:
    """Reserve the numbers of closed standard streams, so that no socket gets their output."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)


def _file(out: Any, data: str | bytes) -> Any:
    if out is None:
        raise OutputError("cannot write to standard output: it is closed")
    return out if isinstance(data, str) else out.buffer


def _failure(out: Any, error: Exception) -> Exception:
    # Python flushes once more when it ends.
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, out.fileno())
        os.close(null)
    if isinstance(error, BrokenPipeError):
        return error
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OutputError(f"cannot write to standard output: {reason}")
