"""What a test server does with recordings: it replays a file, or records a real server into one."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from fastwsh.client.options import ConnectOptions, Options, check_url
from fastwsh.testing import har
from fastwsh.testing.arguments import check_path, check_timeout
from fastwsh.testing.dispatcher import ANY_PATH, RecordingDispatcher
from fastwsh.testing.matching import Match, make_mismatch
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder
from fastwsh.testing.replay_steps import ReplayOptions
from fastwsh.testing.replaying import Replay
from fastwsh.testing.serving import RecordedServer

if TYPE_CHECKING:
    from fastwsh.record.redaction import Hook
    from fastwsh.record.writer import HarWriter

__all__ = ["Recordings"]


class Recordings:
    """The recordings of a test server."""

    _dispatcher: RecordingDispatcher
    _recorder: Recorder
    _server: RecordedServer
    _added: set[str]

    def __init__(self) -> None:
        self._replays: list[Replay] = []
        self._writer: HarWriter | None = None

    def replay(
        self,
        file: str | os.PathLike[str],
        *,
        path: str | None = None,
        strict: bool = True,
        speed: float = 0,
        match: Match = "exact",
        ignore: Iterable[str] = (),
        timeout: float | None = DEFAULT_TIMEOUT,
        repeat: bool = False,
    ) -> Replay:
        """Be the server that was recorded: send what it sent, and expect what its client sent.

        Each client gets the next connection of the file with its path; where the file has none of
        the path `/`, a client at `/` gets the next one of any path. Refused handshakes,
        subprotocols, fragments, pings, close codes and unclean ends are as they were recorded.

        Args:
            file: A HAR file of `python -m fastwsh.record`, or as Chromium's developer tools or
                mitmproxy export it.
            path: Replay the connections of this path only; None: all of the file.
            strict: Whether clients have to send the same messages in the same order and nothing
                else, stay to the end, close with the same code, and come for every connection.
                Without, messages between two of the server may come in any order and others among
                them, and clients may leave when they like.
            speed: 0: as fast as the client lets it; 1.0: at the times that were recorded; 2.0:
                twice as fast.
            match: How messages of the client are compared: "exact", "json", a pattern for what may
                differ, or a function of the recorded message and the one that came. What was
                redacted may be anything.
            ignore: Keys of JSON messages that may differ or be missing: "id" anywhere, "meta.id"
                from the top on.
            timeout: Seconds to wait for a message of the client, besides what it took then at
                `speed`; None: no limit.
            repeat: Whether to begin again when every connection of a path has been played.

        Returns:
            The replay; `check` looks after it.

        Raises:
            HarError: The file cannot be read, or there is nothing to replay.
            TypeError, ValueError: An argument cannot be used.
        """
        if isinstance(speed, bool) or not isinstance(speed, int | float):
            raise TypeError(f"speed {speed!r}; give a number")
        if not 0 <= speed < float("inf"):
            raise ValueError(f"speed is {speed}; 0 is without pauses, 1.0 as it was recorded")
        check_timeout(timeout)
        wanted = None if path is None else check_path(path)
        manner = ReplayOptions(make_mismatch(match, ignore), strict, speed, timeout)
        conversations = har.read(file)
        name = os.fspath(file)
        if wanted is not None:
            there = list(dict.fromkeys(one.path for one in conversations))
            conversations = [one for one in conversations if one.path == wanted]
            if there and not conversations:
                raise har.HarError(
                    f"{name} has no WebSocket connection of {wanted}; it has {', '.join(there)}"
                )
        replay = Replay(name, conversations, self._recorder, manner, repeats=repeat)
        for place in {*replay.paths, "/", ANY_PATH}:
            self._dispatcher.add_replay(place, replay)
            self._added.add(place)
        self._replays.append(replay)
        return replay

    def record(
        self,
        url: str,
        file: str | os.PathLike[str],
        *,
        redact_headers: Iterable[str] = (),
        redact_query: Iterable[str] = (),
        redact: "Hook | None" = None,
        overwrite: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """Pass all clients on to a real server, and record what they say; until `clear` or `stop`.

        Clients at `/` get to the path of the URL, others to their own path on the same server.
        Paths that have a handler are served by that.

        Args:
            url: `ws://`, `wss://` or `ws+unix://`.
            file: The HAR file; one that is there goes on.
            redact_headers: Headers whose values do not get into the file, besides Authorization,
                Proxy-Authorization, Cookie and Set-Cookie.
            redact_query: Parameters in the query of URLs, likewise.
            redact: Called with each `har.Conversation` when it is opened, and with each
                `har.Message`; returns it, changed or not, or None to leave a message out.
            overwrite: Whether to write over a file that is there.
            **options: How to connect to the real server: `headers`, which are sent in place of the
                client's, and those of `fastwsh.connect` for TLS, `proxy` and `open_timeout`.

        Raises:
            HarError: The file is there, and is no HAR file.
            OSError: It cannot be written.
            TypeError, ValueError: An argument cannot be used.
        """
        from fastwsh.record.proxy import Proxy  # noqa: PLC0415 (only recording needs it)
        from fastwsh.record.redaction import Redaction  # noqa: PLC0415
        from fastwsh.record.upstream import UpstreamUrl  # noqa: PLC0415
        from fastwsh.record.writer import HarWriter  # noqa: PLC0415

        check_url(url)
        headers = options.pop("headers", None) or ()
        upstream = UpstreamUrl(url, headers.items() if isinstance(headers, Mapping) else headers)
        redaction = Redaction(redact_headers, redact_query, redact)
        settings = Options.from_keywords(options)
        settings.to_core()
        self._end_recording()
        self._writer = HarWriter(file, overwrite=overwrite)

        def note_failure(resource: str, error: Exception) -> None:
            path = resource.partition("?")[0]
            self._recorder.note_error(path, error, f"{url} cannot be recorded: {error}")

        self._server.proxy = Proxy(upstream, self._writer, redaction, settings, note_failure)
        self._dispatcher.add_function(ANY_PATH, _not_called)
        self._added.add(ANY_PATH)

    @property
    def recording_error(self) -> OSError | None:
        """Why nothing more is written into the file that is recorded, if that is so."""
        return None if self._writer is None else self._writer.error

    def _await_replays(self, timeout: float) -> None:
        """Let replays read what clients have sent before they went."""
        self._recorder.wait_until(lambda: all(one.is_settled for one in self._replays), timeout)

    def _end_recording(self) -> None:
        proxy, self._server.proxy = self._server.proxy, None
        if proxy is not None:
            proxy.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _not_called(_: Any) -> None:
    """Stand for the proxy where the server looks for handlers."""
