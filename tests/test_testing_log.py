"""What the test server logs, and who gets that."""

import logging

import pytest

import fastwsh
from fastwsh.testing import running_server
from wire import DEADLINE_SECONDS

NAMES = ("fastwsh", "fastwsh.server", "pywebsocket3", "pywebsocket3.handshake")


def fail(_connection):
    raise LookupError("no")


def talk(server):
    """Meet a handler that fails, and a path without one."""
    server.handler("/")(fail)
    with fastwsh.connect(server.url) as client, pytest.raises(fastwsh.ConnectionClosed):
        client.recv(timeout=DEADLINE_SECONDS)
    server.stop()
    assert server.take_errors()


def test_the_log_of_the_test_is_untouched(caplog):
    levels = [logging.getLogger(name).level for name in NAMES]
    with running_server() as server:
        talk(server)
        assert [logging.getLogger(name).level for name in NAMES] == levels
    assert caplog.records == []
    assert any("LookupError" in line for line in server.log)
    assert any(line.startswith("INFO fastwsh.server: Listening on") for line in server.log)
    assert [logging.getLogger(name).level for name in NAMES] == levels


def test_a_test_that_asks_has_it_in_its_log(caplog):
    caplog.set_level(logging.INFO, "fastwsh")
    with running_server() as server:
        talk(server)
    assert {record.name.partition(".")[0] for record in caplog.records} == {"fastwsh"}
    assert sum("Listening on" in line for line in server.log) == 1


def test_a_level_of_the_root_does_not_ask(caplog):
    caplog.set_level(logging.DEBUG)
    with running_server() as server:
        talk(server)
    assert caplog.records == []


def test_others_log_as_ever(caplog):
    with running_server():
        logging.getLogger("fastwsh.server").warning("of another server")
        logging.getLogger("fastwsh.server").info("of no interest")
        logging.getLogger("mine").warning("of the test")
    assert [record.getMessage() for record in caplog.records] == [
        "of another server",
        "of the test",
    ]


def test_what_a_handler_logs_is_for_the_log_of_the_test(caplog):
    with running_server() as server:

        @server.handler("/")
        def log(_connection):
            logging.getLogger("mine").warning("from the handler")

        with fastwsh.connect(server.url) as client:
            assert list(client) == []
    assert [record.getMessage() for record in caplog.records] == ["from the handler"]


def test_nothing_is_left_of_it():
    with running_server(), running_server():
        pass
    kept = type(logging.getLogger("fastwsh.server"))
    assert kept.isEnabledFor is logging.Logger.isEnabledFor
    assert kept.callHandlers is logging.Logger.callHandlers
    assert all(logging.getLogger(name).handlers == [] for name in NAMES)
