#!/usr/bin/env python3
"""Run the Autobahn test suite's fuzzing client against the echo handler, and compare.

    python tests/conformance/autobahn.py                    every case, wherever handlers run
    python tests/conformance/autobahn.py --cases 9 12.1     some groups
    python tests/conformance/autobahn.py --concurrency hub  one of the three
    python tests/conformance/autobahn.py --http2            through HAProxy, over HTTP/2 behind it

All 517 cases take some fifteen minutes in each place, nearly all for groups 12 and 13: their cases
have a thousand messages each, and the suite's client is slow.

The suite runs under CPython 2.7 only. That is taken from $FASTWSH_PYTHON27, from PATH or from
pyenv; what the suite needs is installed once, into `.cache/autobahn`. `expected.toml` holds what
is expected, and what pywebsocket3 itself achieves; exit status 1 tells of any difference.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ENVIRONMENT = ROOT / ".cache" / "autobahn"

CONCURRENCIES = ("threads", "hub", "loop")

# Group 12 has the same cases for five kinds of messages, group 13 for seven offers: the shortest
# case of each, and one whose messages come in fragments.
QUICK = (*(str(group) for group in range(1, 12)), "12.1.11", "13.1.11")
QUICK += tuple(f"12.{number}.1" for number in range(1, 6))
QUICK += tuple(f"13.{number}.1" for number in range(1, 8))
"""Cases and groups that together take less than a minute."""

# The suite's own list of requirements, which its package on PyPI lacks.
_TOOLS = ("pip==20.3.4", "setuptools==44.1.1", "wheel==0.37.1")
_REQUIREMENTS = (
    *("txaio==2.1.0", "incremental==16.10.1", "Twisted==19.10.0", "zope.interface==4.6.0"),
    *("six==1.16.0", "cryptography==3.3.2", "pyOpenSSL==19.1.0", "service_identity==18.1.0"),
    *("jinja2==2.11.3", "markupsafe==1.1.1", "Werkzeug==1.0.1", "klein==17.10.0"),
    *("unittest2==1.1.0", "wsaccel==0.6.2"),
)
_SUITE = ("autobahn==0.10.9", "autobahntestsuite==25.10.1")

# What Autobahn says of a connection's end that is as bad as a failed case.
_BAD_ENDS = {"FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"}

_HANDLER = """\
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""

_COROUTINE = """\
async def web_socket_do_extra_handshake(request):
    pass

async def web_socket_transfer_data(request):
    async for message in request.ws_stream:
        await request.ws_stream.send_message(message)
"""


class UnavailableError(Exception):
    """Why the suite cannot be run here, in one sentence."""


class Suite:
    """An installed Autobahn test suite."""

    def __init__(self) -> None:
        self._python = str(ENVIRONMENT / "bin" / "python")
        if not (ENVIRONMENT / "ready").exists():
            self._install(find_python27())

    def cases(self, patterns: Sequence[str] = ()) -> list[str]:
        """The cases of these groups, in the suite's order; all without patterns.

        A pattern is the number of a case or of a group, such as 9, 12.1 or 6.4.1.
        """
        listing = (
            "from autobahntestsuite.case import Cases\n"
            "for case in Cases:\n"
            "    print('.'.join(case.__name__[4:].split('_')))"
        )
        done = subprocess.run(
            [self._python, "-c", listing], check=True, capture_output=True, text=True
        )

        def is_wanted(case: str) -> bool:
            return any(case == pattern or case.startswith(f"{pattern}.") for pattern in patterns)

        return [case for case in done.stdout.split() if not patterns or is_wanted(case)]

    def run(self, url: str, cases: Sequence[str], timeout: float) -> dict[str, str]:
        """Play cases against a server; the verdict of each."""
        with tempfile.TemporaryDirectory() as work:
            specification = Path(work, "specification.json")
            specification.write_text(
                json.dumps(
                    {
                        "outdir": work,
                        "servers": [{"agent": "server", "url": url}],
                        "cases": list(cases),
                        "exclude-cases": [],
                        "exclude-agent-cases": {},
                    }
                )
            )
            wstest = str(ENVIRONMENT / "bin" / "wstest")
            done = subprocess.run(
                [wstest, "-m", "fuzzingclient", "-s", str(specification)],
                check=False,
                cwd=work,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
            index = Path(work, "index.json")
            if not index.exists():
                raise RuntimeError(f"wstest has written no report:\n{done.stdout}{done.stderr}")
            reports = json.loads(index.read_text())["server"]
            return {case: verdict(reports.get(case)) for case in cases}

    def _install(self, python27: str) -> None:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        ENVIRONMENT.parent.mkdir(exist_ok=True)
        environ = {
            **os.environ,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_PYTHON_VERSION_WARNING": "1",
        }

        def call(*command: str) -> None:
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
            if done.returncode != 0:
                reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
                raise UnavailableError(f"{' '.join(command[:4])} failed: {' '.join(reason)}")

        with tempfile.TemporaryDirectory() as work:
            # one file that leaves the interpreter as it is
            pip = (python27, "-m", "pip", "install", "-q", "--no-deps")
            call(*pip, "--target", work, "virtualenv==16.7.12")
            call(python27, f"{work}/virtualenv.py", "-q", "--no-download", str(ENVIRONMENT))
        for requirements in (_TOOLS, _REQUIREMENTS, ("--no-deps", *_SUITE)):
            call(self._python, "-m", "pip", "install", "-q", *requirements)
        (ENVIRONMENT / "ready").touch()


def find_python27() -> str:
    """Return a CPython 2.7 that has pip.

    Raises:
        UnavailableError: There is none.
    """
    candidates = [os.environ.get("FASTWSH_PYTHON27"), shutil.which("python2.7")]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates += [str(folder / "bin" / "python2.7") for folder in sorted(versions.glob("2.7.*"))]
    for candidate in filter(None, candidates):
        command = [candidate, "-c", "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"]
        try:
            done = subprocess.run(command, check=False, capture_output=True)
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    raise UnavailableError(
        "the Autobahn test suite needs CPython 2.7 with pip, and there is none: install one with "
        "pyenv, or name it in FASTWSH_PYTHON27"
    )


def verdict(report: dict[str, str] | None) -> str:
    """Return one word for a case: OK, INFORMATIONAL, NON-STRICT, UNIMPLEMENTED or FAILED."""
    if report is None:
        return "FAILED"
    if report["behaviorClose"] in _BAD_ENDS:
        return "FAILED"
    return report["behavior"]


HAPROXY = """\
global
    maxconn 100
defaults
    mode http
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
frontend front
    bind 127.0.0.1:{front} alpn http/1.1
    default_backend back
backend back
    server one 127.0.0.1:{back} proto h2
"""


@contextmanager
def over_http2(concurrency: str) -> Iterator[str]:
    """Serve the echo handler behind HAProxy, which speaks HTTP/2 with it; gives HAProxy's URL."""
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if haproxy is None:
        raise UnavailableError("haproxy is not installed: apt-get install haproxy")
    with serving(concurrency, "--http2") as url, tempfile.TemporaryDirectory() as folder:
        back = url.rpartition(":")[2].removesuffix("/echo")
        with socket.create_server(("127.0.0.1", 0)) as unused:
            front = unused.getsockname()[1]
        file = Path(folder, "haproxy.cfg")
        file.write_text(HAPROXY.format(front=front, back=back))
        with subprocess.Popen([haproxy, "-db", "-f", file], stderr=subprocess.DEVNULL) as proxy:
            try:
                _wait_until_open(front)
                yield f"ws://127.0.0.1:{front}/echo"
            finally:
                proxy.kill()


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def serving(concurrency: str, *options: str) -> Iterator[str]:
    """Serve the echo handler; gives its URL."""
    with tempfile.TemporaryDirectory() as folder:
        in_loop = concurrency == "loop"
        Path(folder, "echo_wsh.py").write_text(_COROUTINE if in_loop else _HANDLER)
        command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "-w", folder]
        command += ["--concurrency", "auto" if in_loop else concurrency, "--log-level", "info"]
        command += options
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            # what it says later is of no interest, and must not fill the pipe
            reader = threading.Thread(target=deque, args=(server.stderr, 0))
            try:
                for line in server.stderr:
                    if match := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
                        break
                else:
                    raise RuntimeError("the server has not started")
                reader.start()
                yield f"ws://127.0.0.1:{match[1]}/echo"
            finally:
                server.kill()
                if reader.ident is not None:
                    reader.join()


def load() -> dict[str, dict[str, list[str]]]:
    """Return the cases of each verdict that is not OK, for fastwsh and for pywebsocket3."""
    return tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))


def expected() -> dict[str, dict[str, str]]:
    """Return the verdict of each case for which it is not OK."""
    return {
        name: {case: verdict for verdict, cases in table.items() for case in cases}
        for name, table in load().items()
    }


def differences(verdicts: dict[str, str]) -> list[str]:
    """Return a line for each verdict that is not what is expected."""
    known = expected()["fastwsh"]
    return [
        f"{case}: {verdict}, expected {known.get(case, 'OK')}"
        for case, verdict in verdicts.items()
        if verdict != known.get(case, "OK")
    ]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=[], metavar="GROUP")
    parser.add_argument("--concurrency", choices=CONCURRENCIES)
    parser.add_argument("--http2", action="store_true")
    options = parser.parse_args()
    try:
        suite = Suite()
    except UnavailableError as error:
        sys.exit(str(error))
    cases = suite.cases(options.cases)
    status = 0
    pywebsocket3 = Counter(expected()["pywebsocket3"].get(case, "OK") for case in cases)
    print(f"{'pywebsocket3':14}{_format(pywebsocket3)}")
    for concurrency in [options.concurrency] if options.concurrency else CONCURRENCIES:
        started = time.monotonic()
        with (over_http2 if options.http2 else serving)(concurrency) as url:
            verdicts = suite.run(url, cases, timeout=7200)
        seconds = time.monotonic() - started
        counts = _format(Counter(verdicts.values()))
        print(f"{concurrency:14}{counts} in {seconds:.0f} s", flush=True)
        for line in differences(verdicts):
            print(f"  {line}")
            status = 1
    return status


def _format(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
