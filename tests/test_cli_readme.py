"""What the README tells a newcomer to do works, and the options that it names exist."""

import re
from pathlib import Path

import pytest
from websockets.sync.client import connect

from conftest import ROOT, StartServer
from fastwsh.options import build_parser
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_handler_of_the_first_screen_echoes(start_server: StartServer, handler_root: Path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    (handler_root / "echo_wsh.py").write_text(code[1], encoding="utf-8")
    server = start_server("-w", "handlers")
    with Client(server.port) as client:
        client.handshake("/echo")
        client.send_frame(TEXT, b"hello")
        assert client.read_frame() == Frame(TEXT, b"hello")


def table_rows() -> list[tuple[list[str], str]]:
    rows = re.findall(r"^\| (`-[^|]*) \| [^|]* \| ([^|]*) \|$", README, re.MULTILINE)
    return [(re.findall(r"`(-[^`]+)`", names), default) for names, default in rows]


@pytest.mark.parametrize(("names", "default"), table_rows())
def test_option_of_the_readme_exists(names: list[str], default: str):
    known = build_parser()._option_string_actions
    assert all(name in known for name in names)
    if default.isdecimal():
        assert known[names[0]].default == int(default)


def code_of(section: str) -> list[str]:
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


CONNECT_UNTIL_IT_WORKS = """

def connect_until_it_works(url):
    from websockets.exceptions import InvalidStatus

    while True:
        try:
            with connect(url) as client:
                yield client
                return
        except InvalidStatus as error:
            assert error.response.status_code == 503
"""


def test_tests_of_clients_pass(pytester: pytest.Pytester):
    tests, _ = code_of("Testing WebSocket clients")
    pytester.makepyfile(tests + CONNECT_UNTIL_IT_WORKS)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error", "--strict-markers")
    result.assert_outcomes(passed=4)


def test_a_server_without_pytest_plays_its_script():
    def talk_to(url: str) -> None:
        with connect(url) as client:
            client.send("hello")
            answers.append(client.recv(DEADLINE_SECONDS))

    answers: list[str | bytes] = []
    _, code = code_of("Testing WebSocket clients")
    exec(code, {"talk_to": talk_to})
    assert answers == ["world"]
