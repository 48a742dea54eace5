"""The access log: a line for each WebSocket connection when it has ended or was refused.

Owns the fields and both formats. A server without an access log runs none of this code.
"""

import http
import logging
import re
import sys
import time
from typing import Any, Final

from fastwsh.config_error import ConfigError
from fastwsh.output import logs
from fastwsh.output.log_file import LogFile, open_log_file
from fastwsh.pywebsocket import common

__all__ = ["AccessLog"]

# Characters that neither split a field at a blank nor are a command for a terminal.
_BARE: Final = re.compile(r"[\w.,:;/@%+=*()\[\]-]+", re.ASCII)

_COUNTS: Final = ("messages_received", "messages_sent", "bytes_received", "bytes_sent")

# In the order of the line; a refused connection has only few of them.
_FIELDS: Final = (
    *("time", "peer", "resource", "status"),
    *("subprotocol", "extensions", "close_received", "close_sent"),
    *_COUNTS,
    *("opened", "seconds", "http_version"),
)

# What opens a connection, over HTTP/1.1, and over HTTP/2 and HTTP/3.
_SWITCHING_PROTOCOLS: Final = http.HTTPStatus.SWITCHING_PROTOCOLS.value
_OPENED: Final = http.HTTPStatus.OK.value

_LOGGER: Final = logging.getLogger("fastwsh.access")


class AccessLog:
    """Writes connections to a file or to standard output; any thread may call it.

    Args:
        target: The file, or `-` for standard output.
        options: `log_format`, `log_max` and `log_count`; text and pywebsocket's defaults stand in.

    Raises:
        ConfigError: The file cannot be opened, or it is that of the log.
    """

    def __init__(self, target: str, options: Any) -> None:
        logs.load_modules()
        self._as_json = getattr(options, "log_format", "text") == "json"
        self.file: LogFile | None = None
        handler: logging.Handler
        worker = getattr(options, "worker", None)
        self._worker: int | None = None if worker is None else worker.number
        if worker is not None:
            handler = logs.StreamLog(worker.log)
        elif target == "-":
            handler = logs.StreamLog(sys.stdout)
        else:
            handler = self.file = open_log_file(target, options, "--access-log")
            if any(map(self.file.rotates_with, logs.log_files())):
                handler.close()
                raise ConfigError(
                    f"--access-log {target!r} is the file of --log-file as well, and both would "
                    "rotate it; name another one, or turn rotation off with --log-max 0"
                )
        formatter = _JsonNotices() if self._as_json else logging.Formatter()
        handler.setFormatter(logs.Relayed("access", formatter) if worker is not None else formatter)
        self._handler = handler

    def write(self, request: Any, started: float) -> None:
        """Write the line of a connection.

        Args:
            request: Its request, after the handshake and the handler have ended.
            started: When its thread began, by `time.monotonic`.
        """
        try:
            entry = _describe(request)
        except Exception:
            # a handler may have put anything into the request
            _LOGGER.exception("A connection has no line in the access log")
            return
        seconds = time.monotonic() - started
        if entry["status"] in {_SWITCHING_PROTOCOLS, _OPENED}:
            entry["opened"] = logs.format_time(time.time() - seconds)
        entry["seconds"] = round(seconds, 3)
        self._write(entry)

    def write_refusal(self, peer: Any, resource: str, status: int, http_version: str) -> None:
        """Write the line of a request for a WebSocket connection that has reached no handler.

        Args:
            peer: The peer's address, as `socket` has it.
            resource: The requested resource.
            status: The status of the answer.
            http_version: Such as HTTP/1.1.
        """
        self._write(_entry(peer, resource, status, http_version))

    def _write(self, entry: dict[str, Any]) -> None:
        if self._worker is not None:
            entry["worker"] = self._worker
        self.write_line(logs.to_json(entry) if self._as_json else _format(entry))

    def write_line(self, line: str) -> None:
        """Write a line that is complete."""
        values = {"name": _LOGGER.name, "msg": line, "levelno": logging.INFO}
        self._handler.handle(logging.makeLogRecord(values))


class _JsonNotices(logging.Formatter):
    """Formats notices that are not about a connection: how many lines were lost."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name == _LOGGER.name:
            return text
        return logs.to_json({"time": logs.format_time(record.created), "message": text})


def _entry(peer: Any, resource: str, status: int | None, http_version: str) -> dict[str, Any]:
    """Return all fields; all but the given ones are empty."""
    entry: dict[str, Any] = dict.fromkeys(_FIELDS)
    entry.update(
        time=logs.format_time(time.time()),
        peer=_format_peer(peer),
        resource=resource,
        status=status,
        http_version=http_version.removeprefix("HTTP/"),
    )
    return entry


def _describe(request: Any) -> dict[str, Any]:
    connection, attributes = request._native, vars(request)
    established = "_dispatcher" in attributes
    opened = _OPENED if connection.protocol in {"HTTP/2", "HTTP/3"} else _SWITCHING_PROTOCOLS
    status = opened if established else request._refused_with
    subprotocol = attributes.get("ws_protocol") if established else None
    extensions = attributes.get("ws_extensions") if established else None
    close_code = attributes.get("ws_close_code")
    *counts, close_sent = connection.account() if established else (None,) * 5
    entry = _entry(connection.remote_addr, connection.resource, status, connection.protocol)
    entry.update(
        subprotocol=None if subprotocol is None else str(subprotocol),
        extensions=common.format_extensions(extensions) if extensions else None,
        close_received=None if close_code is None else int(close_code),
        close_sent=close_sent,
        **dict(zip(_COUNTS, counts, strict=True)),
    )
    return entry


def _format_peer(address: Any) -> str:
    """Return host and port; the peers of a Unix socket have neither."""
    if not isinstance(address, tuple):
        return "unix"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _format(entry: dict[str, Any]) -> str:
    """Return `[time] peer resource status`, and `name=value` for all other fields with a value."""
    moment, peer, resource, status = (entry.pop(name) for name in list(entry)[:4])
    fields = [f"[{moment}]", peer, _quote(resource), "-" if status is None else str(status)]
    fields += [f"{name}={_quote(value)}" for name, value in entry.items() if value is not None]
    return " ".join(fields)


def _quote(value: Any) -> str:
    text = str(value)
    return text if _BARE.fullmatch(text) else logs.to_json(text)
