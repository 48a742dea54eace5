"""Handlers for the hub, and how to see what shares its thread."""

from contextlib import suppress
from pathlib import Path

from conftest import Server
from wire import Client

# Handlers of two files meet in a module that both import.
STREAMS = (
    "from mod_pywebsocket import common\nstreams = common.__dict__.setdefault('streams', {})\n"
)
FUNCTIONS = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
"""


def handler(lines: str, before: str = "") -> str:
    """A handler's module, which is not put anywhere in particular."""
    return before + FUNCTIONS + "".join(f"    {line}\n" for line in lines.splitlines())


def thread_names(server: Server) -> list[str]:
    tasks = Path("/proc", str(server.process.pid), "task")
    return [(task / "comm").read_text().strip() for task in tasks.iterdir()]


def drain(client: Client) -> None:
    with suppress(OSError):
        while client.socket.recv(1 << 16):
            pass
