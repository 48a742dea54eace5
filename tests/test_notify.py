"""`NOTIFY_SOCKET`: what a service manager is told, and when."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler
from fastwsh.process.notify import Notifier
from notify_support import Manager

HANDLERS = "-w", "handlers"


@pytest.fixture(params=["path", "abstract"])
def manager(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Manager]:
    path = str(tmp_path / "notify.sock")
    manager = Manager(path if request.param == "path" else f"@{path}")
    yield manager
    manager.close()


ONE_WAY = pytest.mark.parametrize("manager", ["path"], indirect=True)


def ready(count: str) -> dict[str, str]:
    return {"READY": "1", "STATUS": f"Serving {count}"}


def test_is_told_of_the_start_and_the_end(
    start_server: StartServer, write_handler: WriteHandler, manager: Manager
):
    write_handler("one", "pass")
    write_handler("two", "pass")
    server = start_server(*HANDLERS, env={"NOTIFY_SOCKET": manager.name})
    assert manager.read() == ready("2 handlers")
    with server.connect() as client:
        client.handshake("/one")
    server.send_signal(signal.SIGTERM)
    assert manager.read() == {
        "STOPPING": "1",
        "STATUS": "Stopping; connections have 10 s to close",
    }
    assert server.wait() == 0


@ONE_WAY
def test_sighup_is_a_reload_and_ends_no_service(
    start_server: StartServer, write_handler: WriteHandler, manager: Manager
):
    write_handler("one", "pass")
    server = start_server(*HANDLERS, env={"NOTIFY_SOCKET": manager.name})
    manager.read()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    server.send_signal(signal.SIGHUP)
    reloading = manager.read()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert reloading.pop("RELOADING") == "1"
    assert before <= int(reloading.pop("MONOTONIC_USEC")) <= after
    assert reloading == {}
    assert manager.read() == ready("1 handler")
    with server.connect() as client:
        client.handshake("/one")


@ONE_WAY
def test_status_follows_the_handlers(
    start_server: StartServer, write_handler: WriteHandler, manager: Manager
):
    start_server(*HANDLERS, "--reload", env={"NOTIFY_SOCKET": manager.name})
    assert manager.read() == ready("0 handlers")
    write_handler("new", "pass")
    assert manager.read() == {"STATUS": "Serving 1 handler"}


@ONE_WAY
def test_watchdog_hears_the_server_in_time(
    start_server: StartServer, write_handler: WriteHandler, manager: Manager
):
    start_server(*HANDLERS, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"})
    beats = 0
    while beats < 5:
        beats += manager.read_any() == {"WATCHDOG": "1"}


@pytest.mark.usefixtures("handler_root")
@ONE_WAY
def test_children_are_not_told_where(
    start_server: StartServer, write_handler: WriteHandler, manager: Manager
):
    write_handler(
        "names",
        "import json, os\nrequest.ws_stream.send_message(json.dumps(list(os.environ)))",
    )
    server = start_server(
        *HANDLERS, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "60000000"}
    )
    with server.connect() as client:
        client.handshake("/names")
        names = json.loads(client.read_frame().payload)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(names)


@pytest.mark.usefixtures("handler_root")
def test_a_socket_that_cannot_be_reached_is_one_warning(start_server: StartServer, tmp_path: Path):
    missing = tmp_path / "missing"
    server = start_server(*HANDLERS, env={"NOTIFY_SOCKET": str(missing)})
    server.log.wait_for(
        rf"\[WARNING\] .*Cannot tell the service manager at NOTIFY_SOCKET={missing}: No such file"
    )
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert server.log.text().count("NOTIFY_SOCKET") == 1


@pytest.mark.usefixtures("handler_root")
def test_without_a_service_manager_sighup_ends_the_server(start_server: StartServer):
    server: Server = start_server(*HANDLERS)
    server.send_signal(signal.SIGHUP)
    assert server.wait() == -signal.SIGHUP


class TestNotifier:
    def test_takes_its_variables_away(self, manager: Manager):
        environ = {
            "NOTIFY_SOCKET": manager.name,
            "WATCHDOG_USEC": "4000000",
            "WATCHDOG_PID": str(os.getpid()),
            "OTHER": "x",
        }
        notifier = Notifier.take_from(environ)
        assert environ == {"OTHER": "x"}
        assert notifier.is_active
        assert 1.9 < notifier.beat() <= 2
        assert manager.read_any() == {"WATCHDOG": "1"}
        assert notifier.beat() <= 2
        notifier.status("the\nnext message")
        assert manager.read_any() == {"STATUS": "the next message"}
        notifier.close()

    @pytest.mark.parametrize(
        "variables",
        [
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
        ],
    )
    def test_has_no_watchdog(self, manager: Manager, variables: dict[str, str]):
        notifier = Notifier.take_from({"NOTIFY_SOCKET": manager.name, **variables})
        assert notifier.beat() == float("inf")
        notifier.close()

    def test_does_nothing_without_a_service_manager(self, caplog: pytest.LogCaptureFixture):
        notifier = Notifier.take_from({"WATCHDOG_USEC": "1000"})
        assert not notifier.is_active
        notifier.ready("x")
        notifier.reloading()
        notifier.stopping("x")
        notifier.beat()
        notifier.close()
        assert caplog.records == []

    def test_does_not_wait_for_a_service_manager_that_does_not_read(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        manager = Manager(str(tmp_path / "notify.sock"))
        notifier = Notifier(manager.name)
        while not caplog.records:
            notifier.status("x" * 1000)
        assert "Resource temporarily unavailable" in caplog.text
        notifier.close()
        manager.close()

    @pytest.mark.parametrize("name", ["vsock:2:1", "relative"])
    def test_other_addresses_are_a_warning(self, name: str, caplog: pytest.LogCaptureFixture):
        notifier = Notifier(name)
        notifier.ready("x")
        notifier.ready("x")
        notifier.close()
        [record] = caplog.records
        assert f"NOTIFY_SOCKET={name}: " in record.getMessage()
