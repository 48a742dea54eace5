"""What the inspector makes of odd connections: HAR files that can be read, and tests that pass."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import clean_environment
from fastwsh.inspector import export
from fastwsh.testing import har
from pytest_plugin_support import ALONE, WITHOUT_OTHERS

TEXT, BINARY, CLOSE = 0x81, 0x82, 0x88


class Inspection:
    """One connection, as the native half tells of it."""

    def __init__(
        self,
        *frames: tuple[str, int, bytes],
        resource: str = "/echo",
        host: str = "localhost:1",
        subprotocol: str = "",
    ) -> None:
        self.resource, self.host, self.subprotocol = resource, host, subprotocol
        self.frames = frames

    def connection(self, number: int) -> dict[str, Any]:
        chosen = [("Sec-WebSocket-Protocol", self.subprotocol)] if self.subprotocol else []
        return {
            "id": number,
            "request_headers": [("Host", self.host)],
            "response_headers": chosen,
            "status": 101,
            "tls": False,
            "resource": self.resource,
            "started": 1.0,
            "closed": None,
            "ended": 2.0,
        }

    def records(self, number: int, *, after: int, most: int) -> dict[str, Any]:
        del number, most
        records = [
            {
                "number": at,
                "time": 1.0 + at / 1000,
                "received": who == "client",
                "first": first,
                "wire": len(data),
                "size": len(data),
                "opaque": False,
                "data": data,
            }
            for at, (who, first, data) in enumerate(self.frames, 1)
        ]
        return {"records": records[after:], "dropped": 0}


def made_of(*frames: tuple[str, int, bytes], **details: Any) -> dict[str, Any]:
    inspection: Any = Inspection(*frames, **details)
    return export.test(inspection, 1)


@pytest.mark.parametrize(
    "resource",
    [
        '/x"""\nimport os\nos.abort()\n"""',
        "/x'''",
        "/\\",
        "/a\\\nb",
        "/²³",
        "/" + "x" * 5000,
        "/../../etc/passwd",
        "/%22%0a%00",
        "/\u2028\u202e",
        "//host/path",
        "*",
        "/",
    ],
)
def test_a_path_is_only_ever_a_string_of_the_test(resource: str):
    made = made_of(("client", TEXT, b"x"), ("server", TEXT, b"y"), resource=resource)
    module = ast.parse(made["text"])
    imports = [node for node in ast.walk(module) if isinstance(node, ast.Import)]
    assert [alias.name for node in imports for alias in node.names] == ["fastwsh"]
    assert [type(node) for node in module.body] == [ast.Import, ast.FunctionDef]
    assert made["name"].isascii()
    assert len(made["name"]) < 100
    assert "/" not in made["name"]


@pytest.mark.parametrize(
    "host", ["[::1", "[::1]:80", "evil/path", "a b", "", "h:99999999", "\n", "user@h", "h?x#y"]
)
def test_whatever_a_client_names_as_host_the_file_can_be_read(host: str, tmp_path: Path):
    inspection: Any = Inspection(("client", TEXT, b"x"), host=host, resource="/echo?a=1")
    made = export.har(inspection, [1], None)
    assert made["count"] == 1
    (tmp_path / "one.har").write_text(made["text"])
    (conversation,) = har.read(tmp_path / "one.har")
    assert conversation.resource == "/echo?a=1"


CLOSES = [0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1012, 1015, 2999, 3000, 4999, 5000, 65535]
ALLOWED = {1000, 1001, 1011, 1012, 3000, 4999}


def test_tests_of_odd_connections_pass(tmp_path: Path):
    """All in one run of pytest, because that takes most of the time."""
    odd: dict[str, dict[str, Any]] = {
        "utf8": made_of(("client", TEXT, b"\xc3\x28"), ("server", CLOSE, b"\x03\xef")),
        "reserved": made_of(("client", 0x83, b"x"), ("server", 0x84, b"x"), ("client", TEXT, b"y")),
        "unfinished": made_of(("client", 0x01, b"a"), ("server", 0x02, b"b")),
        "continuation": made_of(("client", 0x80, b"a"), ("server", TEXT, b"b")),
        "fragments": made_of(
            ("client", 0x01, "grü".encode()[:3]),
            ("client", 0x89, b"ping"),
            ("client", 0x00, b""),
            ("client", 0x80, "grü".encode()[3:]),
            ("server", TEXT, "grü".encode()),
        ),
        "quotes": made_of(("client", TEXT, b"'''\"\"\"\\\n\r\x00\x1b"), ("server", TEXT, b"\\")),
        "subprotocol": made_of(("client", TEXT, b"x"), subprotocol="a.b"),
        "reason": made_of(("client", CLOSE, b"\x03\xe8" + b"\xff" * 123)),
        "nothing": made_of(),
        "short": made_of(("client", CLOSE, b"\x03")),
        "empty": made_of(("client", CLOSE, b"")),
    }
    for code in CLOSES:
        body = code.to_bytes(2) + "grund ü".encode()
        odd[f"close_server_{code}"] = made_of(("server", CLOSE, body))
        # a server answers others with 1002
        answer = body if code in ALLOWED else b"\x03\xea"
        odd[f"close_client_{code}"] = made_of(("client", CLOSE, body), ("server", CLOSE, answer))
    for name, made in odd.items():
        (tmp_path / f"test_{name}.py").write_text(made["text"])
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *ALONE, "-p", "no:cacheprovider", "."],
        check=False,
        cwd=tmp_path,
        env=clean_environment(**WITHOUT_OTHERS),
        capture_output=True,
        text=True,
    )
    assert f"{len(odd)} passed" in result.stdout, result.stdout
    said = {name: " ".join(made["missing"]) for name, made in odd.items()}
    assert "texts that are not UTF-8" in said["utf8"]
    assert "2 frames with a reserved opcode" in said["reserved"]
    assert "the client has not finished" in said["unfinished"]
    assert "the server has not finished" in said["unfinished"]
    assert "may not be sent" in said["reason"]
    assert "may not be sent" in said["close_client_1005"]
    for name in ("fragments", "quotes", "nothing", "empty", "close_server_4999"):
        assert said[name] == ""
    for name, made in odd.items():
        for sentence in made["missing"]:
            assert f"    # {sentence}\n" in made["text"], name
