"""The garbage collector may run at any allocation, also while a stream is being made."""

import subprocess
import sys

PROGRAM = """
import gc
from types import SimpleNamespace
from fastwsh.pywebsocket.stream import Stream, StreamOptions


class Derived(Stream):
    pass


gc.set_threshold(1)
kept = []
for number in range(3000):
    for cls in (Stream, Derived):
        request = SimpleNamespace(number=number)
        request.ws_stream = cls(request, StreamOptions())
        # kept, so that no dict can be used again and each is allocated anew
        kept.append(request)
print("survived")
"""


def test_a_collection_while_a_stream_is_made_does_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr
