"""pywebsocket's modules, under the names and with the behaviour that handlers know.

A handler imports `pywebsocket3` or, if it is older, `mod_pywebsocket`. Both names resolve to this
package once `install()` was called, which the handler loader does; importing `fastwsh` does not.

Every protocol rule is in the native module `fastwsh._core`; what stands here are the classes and
functions that handlers, embedding programs and tests of other projects call. Submodules are
imported when they are first asked for, so that `import pywebsocket3.common` costs little.
"""

import importlib
from types import ModuleType

from fastwsh.pywebsocket import _gone
from fastwsh.pywebsocket._finder import install as install
from fastwsh.pywebsocket._finder import uninstall as uninstall

# Only the modules: `from mod_pywebsocket import *` must bind in a handler what it always did.
__all__ = [
    "common",
    "dispatch",
    "extensions",
    "handshake",
    "http_header_util",
    "memorizingfile",
    "msgutil",
    "request_handler",
    "server_util",
    "standalone",
    "stream",
    "util",
    "websocket_server",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    # `from mod_pywebsocket import mux` asks for the attribute before it asks the finder
    _gone.refuse(name, f"mod_pywebsocket.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
