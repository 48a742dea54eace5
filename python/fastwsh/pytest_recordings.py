"""`--fastwsh-record`, and the recordings that the marker `wsserver` names."""

from __future__ import annotations

import contextlib
import re
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastwsh.testing import WsServer

__all__ = ["HAS_PASSED", "Recorded", "add_option", "fail", "take"]

HAS_PASSED: pytest.StashKey[bool] = pytest.StashKey()
"""Whether the call of a test has passed; in the stash of its item."""

# A file's name has at most 255 bytes, of which ".har.new" and what makes it unique need some.
_MAX_NAME_BYTES: Final = 200

_OPTION: Final = "--fastwsh-record"
_ONCE: Final = "once"
_NONE: Final = "none"
_ALL: Final = "all"

# Of the marker, for `WsServer.replay`; all others are options of the server.
_FOR_REPLAY: Final = frozenset({"path", "strict", "speed", "match", "ignore", "timeout", "repeat"})


def add_option(parser: pytest.Parser) -> None:
    """Declare the option."""
    parser.getgroup("fastwsh", "WebSocket servers for tests of clients").addoption(
        _OPTION,
        choices=[_ONCE, _NONE, _ALL],
        default=_NONE,
        help="tests marked wsserver(replay=..., url=...): record the real server at url if there "
        "is no recording yet (once), never (none, the default), or anew (all)",
    )


class Recorded(NamedTuple):
    """What a test replays, or records.

    Attributes:
        item: The test.
        file: The recording.
        url: The real server, if the marker names one.
        arguments: For `WsServer.replay`.
    """

    item: pytest.Item
    file: Path
    url: str | None
    arguments: dict[str, Any]

    @contextlib.contextmanager
    def on(self, server: WsServer, recording: dict[str, Any]) -> Iterator[None]:
        """Let a server replay or record, as the option says.

        Args:
            server: The server.
            recording: Arguments for `WsServer.record`.
        """
        __tracebackhide__ = True
        mode = self.item.config.getoption(_OPTION)
        if mode == _ALL or (mode == _ONCE and not self.file.exists()):
            with self._recording(server, recording):
                yield
            return
        from fastwsh.testing.har import HarError  # noqa: PLC0415 (only when it is used)

        if not self.file.exists():
            _fail(f"there is no recording {self.file}; make it with pytest {_OPTION}=once")
        try:
            server.replay(self.file, **self.arguments)
        except (HarError, TypeError, ValueError) as error:
            _fail(f"cannot replay: {error}")
        yield

    @contextlib.contextmanager
    def _recording(self, server: WsServer, recording: dict[str, Any]) -> Iterator[None]:
        """Record, and keep that if the test passes: a recording of a failure is of no use."""
        __tracebackhide__ = True
        if (url := self.url) is None:
            _fail(f"cannot record {self.file}: give the marker wsserver the url= of the server")
        from fastwsh.errors import FastwshError  # noqa: PLC0415 (only when it is used)

        new = self.file.with_name(f"{self.file.name}.new")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            server.record(url, new, **{**recording, "overwrite": True})
        except (FastwshError, OSError, TypeError, ValueError) as error:
            _fail(f"cannot record {self.file}: {error}")
        try:
            yield
            # what is under way belongs to it
            server.stop()
            if self.item.stash.get(HAS_PASSED, False):
                new.replace(self.file)
        finally:
            server.stop()
            new.unlink(missing_ok=True)


def take(item: pytest.Item, options: dict[str, Any]) -> Recorded | None:
    """Take what is for a recording out of the marker's arguments; None if there is none."""
    replay, url = options.pop("replay", None), options.pop("url", None)
    arguments = {name: options.pop(name) for name in sorted(_FOR_REPLAY & options.keys())}
    if replay is None or replay is False:
        if extra := [*(["url"] if url is not None else []), *arguments]:
            fail(f"the marker wsserver has {extra[0]}= without replay=, the file of the recording")
        return None
    if replay is True:
        classes = [node.name for node in item.listchain() if isinstance(node, pytest.Class)]
        name = _file_name(".".join([*classes, item.name]))
        file = item.path.parent / "cassettes" / item.path.stem / f"{name}.har"
    elif isinstance(replay, str | PathLike):
        file = item.config.rootpath / replay
    else:
        fail(f"the marker wsserver has replay={replay!r}; give the path of a HAR file, or True")
    if not isinstance(url, str | None):
        fail(f"the marker wsserver has url={url!r}; give a str")
    return Recorded(item, file, url, arguments)


def _file_name(test: str) -> str:
    """Make a file's name of a test's, another one for each test."""
    name = re.sub(r"[^\w.,=+@()\[\]-]", "-", test)
    shown = name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    if shown == test:
        return test
    import hashlib  # noqa: PLC0415 (for few names only; loads OpenSSL)

    # others may differ in what was replaced or left out alone
    return f"{shown}-{hashlib.sha256(test.encode(errors='surrogatepass')).hexdigest()[:8]}"


def fail(sentence: str) -> NoReturn:
    """Fail a test with a sentence, which has all that its causes have."""
    raise pytest.fail.Exception(sentence, pytrace=False) from None


def _fail(sentence: str) -> NoReturn:
    fail(f"wsserver: {sentence}")
