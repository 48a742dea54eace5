"""The handler that the README shows a newcomer works."""

import re
from pathlib import Path

from conftest import ROOT, StartServer
from wire import TEXT, Client, Frame

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
