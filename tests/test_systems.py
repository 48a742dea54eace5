"""What differs between operating systems stands in one folder; see src/system.rs."""

import re
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*.rs"))
FOLDER = ("src/system.rs", "src/system/")

# Questions for the system, and what only some have.
SYSTEMS_OWN = re.compile(
    r"target_os|target_vendor|target_family|cfg!?\((?:not\()?(?:unix|windows)"
    r"|/proc/|os::linux|linux_"
    r"|accept_with|acceptfrom_with|socket_domain|SocketFlags|NOSIGNAL|nosigpipe|getpath"
    r"|Coarse|RDHUP|gettid|OFlags::PATH|memfd|pidfd|inotify|prctl"
    r"|(?:epoll|kqueue|eventfd)(?:::|_)"
)


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith(FOLDER)])
def test_systems_differ_in_one_folder(path: str):
    text = (ROOT / path).read_text(encoding="utf-8")
    found = [line.strip() for line in text.splitlines() if SYSTEMS_OWN.search(line)]
    assert found == []


def test_the_folder_has_what_others_must_not_have():
    texts = [(ROOT / path).read_text("utf-8") for path in SOURCES if path.startswith(FOLDER)]
    assert {"target_os", "/proc/", "RDHUP", "Coarse", "gettid"} <= {
        found for text in texts for found in SYSTEMS_OWN.findall(text)
    }


def test_the_service_manager_is_told_without_flags_that_the_system_lacks(monkeypatch):
    # of macOS' flags, Python has only the one
    monkeypatch.delattr(socket, "MSG_NOSIGNAL")
    source = (ROOT / "python/fastwsh/process/notify.py").read_text("utf-8")
    namespace = {"__name__": "notify"}
    exec(compile(source, "notify.py", "exec"), namespace)
    assert namespace["_FLAGS"] == socket.MSG_DONTWAIT
