"""Handlers for the check of what may block."""

from fastwsh.concurrency.check import why_threads

__all__ = ["FUNCTIONS", "handler", "why"]

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request): pass
"""


def handler(body, before=""):
    """A handler whose function has that body, on line 4 and below if nothing stands before."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return (
        f"{before}\ndef web_socket_do_extra_handshake(request): pass\n"
        f"def web_socket_transfer_data(request):\n{lines}\n"
    )


def why(body, before=""):
    """Why a handler with that body needs a thread, or None."""
    return why_threads(handler(body, before))
