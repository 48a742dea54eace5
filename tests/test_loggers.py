"""A handler that configures logging does not silence the server."""

import logging

import pytest

from conftest import ALL_WAYS, StartServer, WriteHandler
from fastwsh.output import loggers

DICT = "import logging.config\nlogging.config.dictConfig({'version': 1})"
ROOT = (
    "import logging.config\nlogging.config.dictConfig({'version': 1, 'root': {'handlers': ['all']},"
    " 'handlers': {'all': {'class': 'logging.StreamHandler'}}})"
)
FILE = (
    "import io, logging.config\nlogging.config.fileConfig(io.StringIO('[loggers]\\nkeys=root\\n"
    "[handlers]\\nkeys=all\\n[formatters]\\nkeys=\\n[logger_root]\\nhandlers=all\\n"
    "[handler_all]\\nclass=StreamHandler\\nargs=()\\n'))"
)
CONFIGURATIONS = {"a dict": DICT, "a dict with handlers": ROOT, "a file": FILE}


@ALL_WAYS
@pytest.mark.parametrize("kind", CONFIGURATIONS)
@pytest.mark.parametrize("when", ["when it is loaded", "when it runs"])
def test_tracebacks_are_told_after_a_configuration(
    start_server: StartServer, write_handler: WriteHandler, kind: str, when: str
) -> None:
    configuration = CONFIGURATIONS[kind]
    at_load, at_run = (configuration, "pass") if "loaded" in when else ("", configuration)
    lines = "".join(f"    {line}\n" for line in at_run.splitlines())
    write_handler(
        "a_first",
        f"{at_load}\ndef web_socket_do_extra_handshake(request):\n    pass\n"
        f"def web_socket_transfer_data(request):\n{lines}"
        "    request.ws_stream.receive_message()\n    raise LookupError('my mistake')\n",
    )
    write_handler("b_second", "raise LookupError('your mistake')")
    server = start_server("-w", "handlers", "--log-level", "info")
    for path, text in (("/a_first", "my mistake"), ("/b_second", "your mistake")):
        with server.connect() as client:
            client.handshake(path)
            client.send_close()
            client.read_to_end()
        server.log.wait_for(rf"LookupError: .*{text}")


def test_who_disables_a_logger_means_it(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler(
        "quiet",
        "import logging\n"
        "logging.getLogger('pywebsocket3.handshake').disabled = True\n"
        "def web_socket_do_extra_handshake(request):\n    pass\n"
        "def web_socket_transfer_data(request):\n    raise LookupError('told')\n",
    )
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/quiet")
        client.read_to_end()
    server.log.wait_for("LookupError")
    assert "Established" not in "\n".join(server.log.lines)


def test_a_newer_logging_may_have_more_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """3.13.5 has `_is_disabled`; we add no name that a later `logging` may have."""
    monkeypatch.setattr(
        logging.Logger, "_is_disabled", lambda self: bool(self.disabled), raising=False
    )
    logger = loggers.get("fastwsh.test_a_newer_logging")
    assert not logger._is_disabled()
    logger.disabled = True
    assert logger._is_disabled()
    added = {name for name in vars(type(logger)) if not name.startswith("__")}
    assert not added
