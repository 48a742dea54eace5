"""The servers that are compared: how each is installed and started.

Every server is one process that listens on a port of 127.0.0.1 and echoes at `/echo`.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
CHECKOUT = BENCHES.parent
# Everything that is installed or built; git ignores it.
STORE = BENCHES / ".peers"
PYTHON = STORE / "venv" / "bin" / "python"
NODE_MODULES = STORE / "node" / "node_modules"
BINARIES = STORE / "target" / "release"

# Peers with a thread (or three) per connection and a lock between them take minutes for more.
FEW_CONNECTIONS = 2_000


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server. Of `pip`, `npm`, `cargo` and `checkout`, at most one says where it comes from."""

    name: str
    # `{port}` in it is replaced.
    command: tuple[str, ...]
    # Requirements, the package whose version counts first, and what to import for a test.
    pip: tuple[str, ...] = ()
    module: str = ""
    # Packages, the one whose version counts first.
    npm: tuple[str, ...] = ()
    # The crate, which is also the name of the feature and the binary in `rust/`.
    cargo: str = ""
    # Built from this checkout.
    checkout: bool = False
    # Whether it does permessage-deflate.
    deflate: bool = True
    # How many idle connections it is given.
    most_connections: int = 1_000_000
    # Whether the ratios are this one's to the others.
    subject: bool = False
    # What to do if it does not install.
    remedy: str = ""


def _handlers(module: str, *options: str) -> tuple[str, ...]:
    return _serving("handlers", module, *options)


def _serving(name: str, module: str, *options: str) -> tuple[str, ...]:
    folder = str(BENCHES / "python" / name)
    # -P: nothing in the current folder takes the place of what is installed.
    return (
        *(str(PYTHON), "-P", "-m", module),
        *("-H", "127.0.0.1", "-p", "{port}", "-d", folder, "--log-level", "error"),
        *options,
    )


def _script(name: str) -> tuple[str, ...]:
    return (str(PYTHON), str(BENCHES / "python" / f"{name}_echo.py"), "{port}")


def _binary(name: str) -> tuple[str, ...]:
    return (str(BINARIES / name), "{port}")


PEERS = (
    *(
        Peer(
            name=f"fastwsh-{concurrency}",
            command=_handlers("fastwsh", "--concurrency", concurrency),
            checkout=True,
            subject=True,
        )
        for concurrency in ("hub", "threads")
    ),
    Peer(
        name="fastwsh-asyncio",
        command=_serving("coroutines", "fastwsh"),
        checkout=True,
        subject=True,
    ),
    Peer(
        name="pywebsocket3",
        command=_handlers("pywebsocket3.standalone"),
        pip=("pywebsocket3==4.0.2",),
        module="pywebsocket3",
        most_connections=FEW_CONNECTIONS,
    ),
    Peer(
        name="websockets-threads",
        command=_script("websockets_threads"),
        pip=("websockets>=15",),
        module="websockets",
        most_connections=FEW_CONNECTIONS,
    ),
    Peer(
        name="websockets-asyncio",
        command=_script("websockets_asyncio"),
        pip=("websockets>=15",),
        module="websockets",
    ),
    Peer(
        name="picows",
        command=_script("picows"),
        pip=("picows>=2", "uvloop>=0.21"),
        module="picows",
        deflate=False,
    ),
    Peer(
        name="aiohttp-uvloop",
        command=_script("aiohttp"),
        pip=("aiohttp>=3.11", "uvloop>=0.21"),
        module="aiohttp",
    ),
    Peer(
        name="socketify",
        command=_script("socketify"),
        pip=("socketify>=0.0.28",),
        module="socketify",
        remedy="it needs libuv: on Debian, apt-get install libuv1",
    ),
    Peer(
        name="uvicorn",
        command=_script("uvicorn"),
        pip=("uvicorn[standard]>=0.35", "websockets>=15"),
        module="uvicorn",
    ),
    Peer(
        name="ws",
        command=("node", str(BENCHES / "node" / "ws_echo.js"), "{port}"),
        npm=("ws@8", "bufferutil@4"),
        remedy="it needs Node 18 or newer with npm",
    ),
    *(
        Peer(
            name=crate,
            command=_binary(crate),
            cargo=crate,
            deflate=crate == "yawc",
            remedy="it may need a newer Rust: run rustup update",
        )
        for crate in ("tokio-tungstenite", "tokio-websockets", "fastwebsockets", "yawc")
    ),
)


# What ratios are to: the best of these, scenario by scenario.
REFERENCES = {
    "pywebsocket3": ("pywebsocket3",),
    "picows": ("picows",),
    "best Python": (
        *("picows", "socketify", "aiohttp-uvloop"),
        *("websockets-threads", "websockets-asyncio"),
    ),
    "best Rust": ("tokio-websockets", "fastwebsockets", "yawc", "tokio-tungstenite"),
}


def added(text: str) -> Peer:
    """Make a peer of `name=command`.

    Raises:
        ValueError: The text is not of that form.
    """
    name, equals, command = text.partition("=")
    if not (name and equals and "{port}" in command):
        raise ValueError(f"{text!r} is not of the form 'name=command {{port}}'")
    return Peer(name=name, command=tuple(shlex.split(command)), subject=True)


def chosen(names: str, peers: Iterable[Peer]) -> list[Peer]:
    """Return the peers with these names, which are separated by commas.

    Raises:
        ValueError: There is no peer of a name.
    """
    known = {peer.name: peer for peer in peers}
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise ValueError(f"there is no peer {name!r}: choose from {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(wanted)]
