"""fastwsh: a WebSocket server that runs pywebsocket handlers, with a core in Rust.

    python -m fastwsh -p 9998 -w example/

Handlers import `pywebsocket3` or `mod_pywebsocket`; inside this server both names are
`fastwsh.pywebsocket`. Importing `fastwsh` alone changes nothing in the process.
"""

from fastwsh._core import __version__

__all__ = ["__version__"]
