"""The program: parse, check, load, listen, and stop when a signal says so.

Owns the order of start-up, the exit status and the signals. Every failure to start is one sentence
on stderr; no mistake of an operator ends in a traceback.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

import fastwsh.pywebsocket
from fastwsh.listening import listeners
from fastwsh.loading import handler_modules
from fastwsh.options import parse_args_and_config
from fastwsh.output import banner, logs, stdout
from fastwsh.process import ending, forks, gc_pause, start_failures
from fastwsh.process.interrupts import INTERRUPTED
from fastwsh.process.notify import Notifier
from fastwsh.server import WebSocketServer
from fastwsh.settings import config, private_files
from fastwsh.workers import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final

    from fastwsh.output.log_file import LogFile
    from fastwsh.workers.channel import Channel

__all__ = ["main", "script", "serve", "stop_seconds"]

_DROPIN_PATH: Final = os.path.join(os.path.dirname(os.path.realpath(__file__)), "dropin")  # noqa: PTH118, PTH120
# The time that the server may need after the connections' time, to notice that it is over.
_STOP_MARGIN_SECONDS: Final = 2.0
# A SIGTERM this soon after the first signal is the same one: timeout(1) sends it twice.
_SAME_SIGNAL_SECONDS: Final = 0.2
# The longest time that a signal may go unnoticed.
_SIGNAL_SECONDS: Final = 0.5

_Handler = Callable[[int, FrameType | None], object] | signal.Handlers
_DEFAULT_HANDLERS: Final[dict[signal.Signals, _Handler]] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}

_logger = logging.getLogger("fastwsh.cli")


class _Done:
    """The event that a thread of ours has ended, with a result or an exception."""

    def __init__(self, result: bool | None = None, error: BaseException | None = None) -> None:
        self.result = result
        self.error = error


# The events that the main thread waits for. A SimpleQueue, because a signal handler may call its
# `put`.
_Events = queue.SimpleQueue[signal.Signals | _Done]


def main(args: Sequence[str] | None = None) -> int:
    """Run the server until a signal stops it, and return the exit status.

    Changes the current folder to the document root, configures logging and makes the names
    `pywebsocket3` and `mod_pywebsocket` importable, as handlers expect. Takes signals over only
    where Python's defaults are in place, so that a program that calls this keeps its own handlers:
    SIGINT and SIGTERM, and SIGHUP if there is a certificate or a log file that it can renew, or a
    service manager. Takes the sockets of LISTEN_FDS over, and reports the state of the server to
    NOTIFY_SOCKET. Ends the process itself, rather than return, if handlers outlive the stop, or
    after a second signal.

    Args:
        args: The arguments without the program's name; None takes those of the process.

    Returns:
        0 after a stop by signal; 1 if the server cannot start or `--check` found a failure; 130 if
        an interrupt came before the server was up. A second SIGINT or SIGTERM ends the process
        with 130 or 143.

    Raises:
        SystemExit: With status 2 for a bad option, 1 for an unknown argument or an unusable
            configuration file, 0 after `--help` and `--version`.
    """
    try:
        options, _ = parse_args_and_config(args)
        return _run(options)
    except stdout.OutputError as error:
        banner.write_error(f"fastwsh: {error}")
        return 1
    except KeyboardInterrupt:
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            raise
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    if options.print_dropin_path:
        return banner.write([_DROPIN_PATH])
    try:
        folder = config.started_in(options)
        workers = count.find(options, os.environ)
        options.start_warnings += tuple(private_files.find_tls_files(options))
        config.enter_document_root(options)
        log = logs.configure(options)
        for warning in options.start_warnings:
            _logger.warning("%s", warning)
        config.check_options(options)
        for warning in options.unused_warnings:
            _logger.warning("%s", warning)
        if workers > 1 and not options.check:
            return _start_workers(options, workers, folder, log)
        fastwsh.pywebsocket.install()
        with handler_modules.importable([os.path.realpath(options.websock_handlers)]):
            if options.check:
                from fastwsh import handler_check  # noqa: PLC0415 (few need it)

                return handler_check.run(options, workers)
            return _listen(options)
    except count.CountError as error:
        banner.write_error(f"fastwsh: {banner.clean(str(error))}")
        return 2
    except (config.ConfigError, OSError, MemoryError, RuntimeError) as error:
        is_explained = isinstance(error, config.ConfigError)
        sentence = str(error) if is_explained else start_failures.shortage(error)
        if sentence is None:
            raise
        return _fail(sentence, options)


def script() -> int:
    """Run the command `fastwsh`; handlers import from the current folder, as for `python -m`."""
    with suppress(FileNotFoundError):
        folder = os.getcwd()  # noqa: PTH109 (a string, as in sys.path)
        if not sys.flags.safe_path and folder not in sys.path:
            sys.path.insert(0, folder)
    return main()


def _start_workers(
    options: argparse.Namespace, number: int, folder: str, log: logging.Handler
) -> int:
    """Start workers, and be their parent."""
    from fastwsh.workers import parent  # noqa: PLC0415 (imports asyncio)

    # the parent serves nothing, so nothing else ends the pause
    gc_pause.resume_collection()
    try:
        status = parent.run(
            options, number, folder=folder, log=log, stop_seconds=stop_seconds(options)
        )
    except parent.WorkerError as error:
        _fail(str(error), options)
        status = error.status
    if not ending.flush_all():
        ending.end_now(status)
    return status


def _listen(options: argparse.Namespace) -> int:
    """Listen at the places that the options and the environment name."""
    options.fd = [*(options.fd or ()), *listeners.take_inherited(os.environ)]
    return serve(options, Notifier.take_from(os.environ), banner.show)


def _start(options: argparse.Namespace) -> WebSocketServer:
    """Build the server; it listens when this returns, and its handlers are ready."""
    try:
        server = WebSocketServer(options)
    except config.ConfigError:
        raise
    except Exception as error:
        _logger.debug("start-up failed", exc_info=True)
        raise config.ConfigError(start_failures.explain(error, options)) from error
    if not server._sockets:
        server.server_close()
        reasons = [start_failures.explain_bind(error, options) for error in server.bind_errors]
        raise config.ConfigError(reasons[0] if reasons else "no address to listen on")
    try:
        server.start_up()
    except BaseException as error:
        server.server_close()
        if isinstance(error, OSError):
            raise config.ConfigError(start_failures.explain(error, options)) from error
        raise
    return server


def serve(
    options: argparse.Namespace,
    notifier: Notifier | Channel,
    announce: Callable[[WebSocketServer, argparse.Namespace], object],
) -> int:
    """Serve until a signal or the server itself ends it; return the exit status.

    The main thread only waits, so that it notices signals whatever the other threads do.

    Args:
        options: After all checks.
        notifier: Whom to tell about the state of the server.
        announce: Called when the server is about to listen.
    """
    if options.thread_monitor_interval_in_sec > 0:
        logs.ThreadMonitor(options.thread_monitor_interval_in_sec).start()
    known_threads = set(threading.enumerate())
    server = _start(options)
    events: _Events = queue.SimpleQueue()
    try:
        with _signals_put_into(events, renewable=_renewable(server) or notifier.is_active):
            _tell_of(server, notifier)
            _run_in_thread("serve", server.serve_forever, events)
            gc_pause.resume_collection()
            announce(server, options)
            while (event := _next_event(events, notifier)) is signal.SIGHUP:
                notifier.reloading()
                _renew(server)
                notifier.ready(_status(server))
            match event:
                case _Done(error=None):
                    return 0
                case _Done(error=BaseException() as error) if start_failures.shortage(error):
                    what = "ends" if server._is_listening else "cannot start"
                    sentence = start_failures.shortage(error, f"the server {what}")
                    raise config.ConfigError(sentence) from error
                case _Done(error=error):
                    _logger.critical("The server failed: %s", error, exc_info=error)
                    return 1
                case signal.Signals.SIGINT:
                    banner.say("Stopping; press Ctrl-C again to stop now")
            finished = _stop(server, options, events, notifier)
    finally:
        server.server_close()
        notifier.close()
    started = set(threading.enumerate()) - known_threads
    if not (
        finished and ending.have_ended(started, options.cleanup_timeout) and ending.flush_all()
    ):
        ending.end_now(0, options.cleanup_timeout)
    return 0


def _tell_of(server: WebSocketServer, notifier: Notifier | Channel) -> None:
    """Tell the service manager when the server listens, and when its handlers change."""
    server._listen_listeners.append(lambda: notifier.ready(_status(server)))
    if notifier.is_active:
        dispatcher = server.websocket_server_options.dispatcher
        dispatcher._alias_listeners.append(lambda: notifier.status(_status(server)))


def _status(server: WebSocketServer) -> str:
    count = len(server.websocket_server_options.dispatcher._handler_suite_map)
    return f"Serving {count} handler{'' if count == 1 else 's'}"


def _next_event(
    events: _Events, notifier: Notifier | Channel, deadline: float = math.inf
) -> signal.Signals | _Done | None:
    """Wait for an event; None when the deadline has passed.

    If a signal arrives just before the main thread begins to wait, it does not end the wait and is
    handled after it. So every wait is short.
    """
    while (left := deadline - time.monotonic()) > 0:
        with suppress(queue.Empty):
            return events.get(timeout=min(left, _SIGNAL_SECONDS, notifier.beat()))
    return None


def _log_files(server: WebSocketServer) -> list[LogFile]:
    access_log = server.access_log
    more = [access_log.file] if access_log is not None and access_log.file is not None else []
    return logs.log_files() + more


def _renewable(server: WebSocketServer) -> bool:
    """Tell whether SIGHUP has anything to renew; if not, it ends the server as usual."""
    return server.websocket_server_options.use_tls or bool(_log_files(server))


def _renew(server: WebSocketServer) -> None:
    """Open log files again, as they may have been moved, and read the certificates again."""
    files = _log_files(server)
    for file in files:
        try:
            file.reopen()
        except OSError as error:
            _logger.error("Cannot open the log file anew: %s", error)  # noqa: TRY400
    if files:
        _logger.info("Log files opened anew")
    server.reload_certificates()


def stop_seconds(options: argparse.Namespace) -> float:
    """Return how long a server may need to end after a signal."""
    seconds: float = options.shutdown_timeout + 2 * options.cleanup_timeout + _STOP_MARGIN_SECONDS
    return seconds


def _stop(
    server: WebSocketServer,
    options: argparse.Namespace,
    events: _Events,
    notifier: Notifier | Channel,
) -> bool:
    """Close every connection; return whether all handlers ended.

    New connections are refused meanwhile. Only those of inherited sockets wait: the owner of the
    socket keeps it open. A second signal ends the process.
    """
    timeout, cleanup_timeout = options.shutdown_timeout, options.cleanup_timeout
    _logger.info("Stopping; connections have %g s to close", timeout)
    notifier.stopping(f"Stopping; connections have {timeout:g} s to close")
    started = time.monotonic()
    deadline = started + timeout + cleanup_timeout + _STOP_MARGIN_SECONDS
    if server._lifespan.has_to_shut_down:
        deadline += cleanup_timeout
    try:
        _run_in_thread("stop", lambda: server.stop(timeout, cleanup_timeout), events)
    except RuntimeError:  # the system has no thread for it: a second signal has to wait
        return server.stop(timeout, cleanup_timeout)
    if server._is_listening:
        # until then the thread that serves needs the sockets
        server.server_close()
    while True:
        match _next_event(events, notifier, deadline):
            case None:
                return False
            case signal.Signals.SIGTERM if time.monotonic() < started + _SAME_SIGNAL_SECONDS:
                pass
            case signal.Signals.SIGINT | signal.Signals.SIGTERM as number:
                server.server_close()
                ending.end_now(128 + number)
            case _Done(result=bool(finished)):
                return finished
            case _Done(error=BaseException() as error):
                _logger.error("Stopping failed: %s", error, exc_info=error)
                return False


def _run_in_thread(name: str, work: Callable[[], bool | None], events: _Events) -> None:
    """Run `work` in a daemon thread and report its end."""

    def run() -> None:
        try:
            events.put(_Done(work()))
        except BaseException as error:  # noqa: BLE001 (carried to the main thread)
            events.put(_Done(error=error))

    threading.Thread(target=run, name=f"fastwsh-{name}", daemon=True).start()


@contextmanager
def _signals_put_into(events: _Events, *, renewable: bool) -> Iterator[None]:
    """Handle the signals that still have Python's default while the context lasts."""
    taken: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():
        for number, default in _DEFAULT_HANDLERS.items():
            if number is signal.SIGHUP and not renewable:
                continue
            if signal.getsignal(number) is default:
                signal.signal(number, lambda received, _: events.put(signal.Signals(received)))
                taken.append(number)
    forks.own_signals({number: _DEFAULT_HANDLERS[number] for number in taken})
    try:
        yield
    finally:
        forks.own_signals({})
        for number in taken:
            signal.signal(number, _DEFAULT_HANDLERS[number])


def _fail(sentence: str, options: argparse.Namespace) -> int:
    """Report why the server does not start: on stderr, and in the log file if there is one."""
    if options.log_file and logging.getLogger().handlers:
        _logger.critical("%s", sentence)
    banner.write_error(f"fastwsh: {banner.clean(sentence)}")
    return 1
