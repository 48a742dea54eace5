"""The servers that are compared: how each is installed and started.

Every server listens on a port of 127.0.0.1. Most echo at `/echo`, and are one process; some have
topics, see `topics.py`.
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
    # What starts it; `{port}` is replaced. Empty if it does not echo.
    command: tuple[str, ...] = ()
    # What starts its server with topics, and that with workers; empty if there is none.
    topics: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    # How its clients join topics; empty for the path.
    dialect: str = ""
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

    def command_for(self, kind: str) -> tuple[str, ...]:
        """Return what starts the server for scenarios of a kind; nothing if it has none."""
        return {"echo": self.command, "topics": self.topics, "workers": self.workers}[kind]


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
    return (str(PYTHON), str(BENCHES / "python" / f"{name}.py"), "{port}")


def _node(name: str) -> tuple[str, ...]:
    return ("node", str(BENCHES / "node" / f"{name}.js"), "{port}")


def _binary(name: str) -> tuple[str, ...]:
    return (str(BINARIES / name), "{port}")


PEERS = (
    *(
        Peer(
            name=f"fastwsh-{concurrency}",
            command=_handlers("fastwsh", "--concurrency", concurrency),
            topics=_serving("rooms", "fastwsh", "--concurrency", concurrency),
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
    *(
        Peer(
            name=f"fastwsh-{count}-worker{'s'[: count != 1]}",
            workers=_handlers("fastwsh", "--concurrency", "hub", "--workers", str(count)),
            checkout=True,
            subject=count > 1,
        )
        for count in (1, 2)
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
        command=_script("websockets_threads_echo"),
        pip=("websockets>=15",),
        module="websockets",
        most_connections=FEW_CONNECTIONS,
    ),
    Peer(
        name="websockets-asyncio",
        command=_script("websockets_asyncio_echo"),
        topics=_script("websockets_topics"),
        pip=("websockets>=15",),
        module="websockets",
    ),
    Peer(
        name="picows",
        command=_script("picows_echo"),
        pip=("picows>=2", "uvloop>=0.21"),
        module="picows",
        deflate=False,
    ),
    Peer(
        name="aiohttp-uvloop",
        command=_script("aiohttp_echo"),
        pip=("aiohttp>=3.11", "uvloop>=0.21"),
        module="aiohttp",
    ),
    Peer(
        name="socketify",
        command=_script("socketify_echo"),
        topics=_script("socketify_topics"),
        pip=("socketify>=0.0.28",),
        module="socketify",
        remedy="it needs libuv: on Debian, apt-get install libuv1",
    ),
    Peer(
        name="uvicorn",
        command=_script("uvicorn_echo"),
        pip=("uvicorn[standard]>=0.35", "websockets>=15"),
        module="uvicorn",
    ),
    Peer(
        name="ws",
        command=_node("ws_echo"),
        npm=("ws@8", "bufferutil@4"),
        remedy="it needs Node 18 or newer with npm",
    ),
    Peer(
        name="socket.io",
        topics=_node("socket_io_topics"),
        dialect="socket.io",
        npm=("socket.io@4", "bufferutil@4"),
        remedy="it needs Node 18 or newer with npm",
    ),
    Peer(name="send-loop", topics=_binary("send-loop"), cargo="send-loop"),
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


# What ratios are to, in scenarios of each kind: the best of these, scenario by scenario.
REFERENCES = {
    "echo": {
        "pywebsocket3": ("pywebsocket3",),
        "picows": ("picows",),
        "best Python": (
            *("picows", "socketify", "aiohttp-uvloop"),
            *("websockets-threads", "websockets-asyncio"),
        ),
        "best Rust": ("tokio-websockets", "fastwebsockets", "yawc", "tokio-tungstenite"),
    },
    "topics": {
        "websockets' broadcast": ("websockets-asyncio",),
        "uWebSockets' topics": ("socketify",),
        "socket.io": ("socket.io",),
        "a loop of send": ("send-loop",),
    },
    "workers": {"one worker": ("fastwsh-1-worker",)},
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
