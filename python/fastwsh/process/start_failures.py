"""Why a server does not start, or stops: the sentences for errors of the system."""

import argparse
import errno
import os
import socket

__all__ = ["explain", "explain_bind", "shortage"]

# Only root may open the ports below (socket(7)), unless the system is configured otherwise.
_FIRST_UNPRIVILEGED = 1024
# What Python says if the system starts no thread.
_NO_THREAD = "can't start new thread"


def explain(error: BaseException, options: argparse.Namespace) -> str:
    """Say in one sentence why the server does not start, and what would help.

    Args:
        error: What its constructor raised.
        options: Those of the server.
    """
    match error:
        case socket.gaierror(errno=socket.EAI_NONAME | socket.EAI_NODATA):
            return (
                f"unknown host {options.server_host!r}; name one of this machine's addresses with "
                "--server-host, or leave it out to listen on all of them"
            )
        case socket.gaierror(strerror=reason):
            return (
                f"cannot look up the host {options.server_host!r} ({reason}); name an address with "
                "--server-host, or leave it out to listen on all of them"
            )
        case _ if sentence := shortage(error):
            return sentence
        case OSError(filename=name, strerror=reason) if name is not None:
            name = os.fsdecode(name) if isinstance(name, str | bytes) else name
            return f"cannot use {name!r} ({reason})"
        case OSError(errno=errno.ENOSYS | errno.EPERM, strerror=reason):
            return (
                f"the server cannot start ({reason}); a filter of system calls, such as that of a "
                "container, may refuse one: allow what epoll, eventfd, sockets and threads need"
            )
        case OSError(errno=errno.ENOSPC, strerror=reason):
            return (
                f"the server cannot start ({reason}); free some space, or raise "
                "fs.epoll.max_user_watches if no disk is full"
            )
        case OSError(strerror=reason) if reason:
            return f"the server cannot start ({reason})"
        case _:
            return " ".join(str(error).split()) or type(error).__name__


def shortage(error: BaseException, what: str = "the server cannot start") -> str | None:
    """Say in one sentence what the system has too little of; None for other errors.

    Args:
        error: What was raised.
        what: What follows from it.
    """
    match error:
        case OSError(errno=errno.EMFILE | errno.ENFILE, strerror=reason):
            return f"{what} ({reason}); raise the limit of open files (ulimit -n)"
        case MemoryError() | OSError(errno=errno.ENOMEM | errno.EAGAIN):
            pass
        case RuntimeError() if str(error) == _NO_THREAD:
            pass
        case _:
            return None
    return (
        f"{what} (the system gives it no more threads or memory); raise the limits of processes "
        "and of memory (ulimit -u, ulimit -v)"
    )


def explain_bind(error: OSError, options: argparse.Namespace) -> str:
    """Say in one sentence why the server cannot listen on its port, and what would help.

    Args:
        error: What the system said to one of the addresses.
        options: Those of the server.
    """
    host, port = options.server_host, options.port
    place = f"port {port} of {host}" if host else f"port {port}"
    match error.errno:
        case errno.EMFILE | errno.ENFILE:
            return explain(error, options)
        case errno.EADDRINUSE:
            return f"{place} is already in use; choose another with --port, or 0 for any free one"
        case errno.EACCES if 0 < port < _FIRST_UNPRIVILEGED:
            return (
                f"{place} may not be opened by this user; choose one from 1024 to 65535 with --port"
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{host!r} is no address of this machine; name one that is with --server-host, "
                "or leave it out to listen on all of them"
            )
        case _:
            return (
                f"cannot listen on {place} ({error.strerror or error}); choose another with --port "
                "and --server-host"
            )
