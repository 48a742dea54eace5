"""The clocks of a test server, which go on when a test has stopped those of Python.

freezegun and time-machine replace what `time` has, so that a wait by that would never end.
"""

from fastwsh._core import real_monotonic as monotonic
from fastwsh._core import real_time as time

__all__ = ["monotonic", "time"]
