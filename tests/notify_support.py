"""A service manager for tests of sd_notify(3)."""

import socket

from wire import DEADLINE_SECONDS


class Manager:
    """A service manager as far as a server sees it: a datagram socket."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(DEADLINE_SECONDS)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)

    def close(self) -> None:
        self._socket.close()

    def read(self) -> dict[str, str]:
        """Return the next message that is no beat."""
        while True:
            message = self.read_any()
            if message != {"WATCHDOG": "1"}:
                return message

    def read_any(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)
