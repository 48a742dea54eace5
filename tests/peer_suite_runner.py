"""Runs one module of pywebsocket3's own tests; `test_peer_suite` starts it, one process each.

    python peer_suite_runner.py TEST_FOLDER MODULE RESULT_FILE

`pywebsocket3` is whatever the environment makes of that name. What is changed in the tests has its
reason beside it; what they expect stays as it is.
"""

import importlib
import json
import os
import random
import signal
import socket
import sys
import threading
import time
import unittest
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

SECONDS_PER_TEST = 30 * float(os.environ.get("FASTWSH_TEST_TIME_SCALE", "1"))


class Result(unittest.TestResult):
    """Collects the outcome of each test, and ends those that hang."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 (unittest's name)
        super().startTest(test)
        signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_TEST)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 (unittest's name)
        signal.setitimer(signal.ITIMER_REAL, 0)
        super().stopTest(test)

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802 (unittest's name)
        super().addSuccess(test)
        self.passed.append(test.id())


def raise_timeout(number: int, frame: FrameType | None) -> None:
    raise AssertionError(f"the test takes longer than {SECONDS_PER_TEST:g} s")


def get_random_section(source: bytes, min_num_chunks: int) -> list[bytes]:
    """Cut bytes into pieces; the original gives `randint` a float, which Python 3.12 refuses."""
    longest = len(source) // min_num_chunks
    pieces = []
    while source:
        length = random.randint(1, min(longest, len(source)))
        pieces.append(source[:length])
        source = source[length:]
    return pieces


def adapt_end_to_end_tests(module: ModuleType, launcher: str) -> None:
    """Start our server, at a port that stays ours, and connect when it listens."""
    base: Any = module.EndToEndTestBase
    set_up, run_server = base.setUp, base._run_server

    def set_up_with_own_port(test: Any) -> None:
        set_up(test)
        # The original closes the socket and hopes that the port will still be free.
        reserved = socket.socket()
        test.addCleanup(reserved.close)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("localhost", 0))
        test.test_port = test._options.server_port = reserved.getsockname()[1]
        test.standalone_command = launcher

    def run_server_and_wait(test: Any, extra_args: list[str] | None = None) -> Any:
        server = run_server(test, extra_args or [])
        deadline = time.monotonic() + SECONDS_PER_TEST
        while server.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("localhost", test.test_port)).close()
                break
            except ConnectionRefusedError:
                threading.Event().wait(0.01)
        return server

    base.setUp, base._run_server = set_up_with_own_port, run_server_and_wait
    # The original sleeps so long and then connects.
    module._SERVER_WARMUP_IN_SEC = 0


def run(module_name: str, folder: Path) -> Result:
    result = Result()
    module: Any = importlib.import_module(module_name)
    if module_name == "test_util":
        module.get_random_section = get_random_section
    elif module_name == "test_endtoend":
        adapt_end_to_end_tests(module, str(folder / "server.py"))
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    return result


def main(folder: str, module_name: str, result_file: str) -> None:
    signal.signal(signal.SIGALRM, raise_timeout)
    sys.path.insert(0, folder)
    result = run(module_name, Path(folder))
    failed = {test.id(): text for test, text in [*result.failures, *result.errors]}
    text = json.dumps({"passed": result.passed, "failed": failed})
    Path(result_file).write_text(text, encoding="utf-8")
    # Threads of MessageReceiver and MessageSender may wait for ever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
