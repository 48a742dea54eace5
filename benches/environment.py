"""What a benchmark needs, installed under `.peers/`: peers, their versions, the load generator."""

import contextlib
import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from peers import BENCHES, BINARIES, CHECKOUT, NODE_MODULES, PYTHON, STORE, Peer

_LOG: Final = STORE / "setup.log"
_SEE_LOG: Final = f"see {_LOG.relative_to(CHECKOUT)}"
_VERSIONS: Final = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class SetupError(Exception):
    """What is missing, and how to get it, in one sentence."""


def prepare(peers: Sequence[Peer], wheel: Path | None) -> list[Peer]:
    """Install what is missing.

    Args:
        peers: The servers.
        wheel: The fastwsh to measure; None: the checkout, which is built.

    Returns:
        The peers that can be started. About each of the others, a line is printed.

    Raises:
        SetupError: Nothing can be measured without this.
    """
    if shutil.which("cargo") is None:
        raise SetupError("cargo is missing: install Rust from https://rustup.rs")
    STORE.mkdir(exist_ok=True)
    _LOG.unlink(missing_ok=True)
    _create_virtual_environment()
    _build_load_generator()
    if any(peer.cargo for peer in peers):
        _build_servers([peer.cargo for peer in peers if peer.cargo])
    usable = []
    for peer in peers:
        if reason := _reason(peer, wheel):
            remedy = f"; {peer.remedy}" if peer.remedy else ""
            note(f"{peer.name} is left out: {reason} ({_SEE_LOG}){remedy}")
        else:
            usable.append(peer)
    if not usable:
        raise SetupError(f"no server can be started: {_SEE_LOG}")
    return usable


def note(text: str) -> None:
    """Say what happens, beside the tables on stdout."""
    print(f"run.py: {text}", file=sys.stderr, flush=True)


def languages() -> str:
    """Name the versions of Python, Node and Rust."""
    parts = [f"Python {platform.python_version()}"]
    for name, command in {"Node": ["node", "--version"], "Rust": ["rustc", "--version"]}.items():
        version = re.search(r"\d[\w.]*", _output(command))
        parts += [f"{name} {version[0]}"] if version else []
    return ", ".join(parts)


def versions(peers: Iterable[Peer], wheel: Path | None) -> str:
    """Name the version of each package that the peers come from."""
    peers = list(peers)
    found: dict[str, str] = {}
    if any(peer.subject for peer in peers):
        found["fastwsh"] = _python_versions(["fastwsh"]).get("fastwsh", "?")
        found["fastwsh"] += f" ({wheel.name})" if wheel else _commit()
    names = {_distribution(requirement): None for peer in peers for requirement in peer.pip}
    found |= _python_versions(list(names))
    for package in {package: None for peer in peers for package in peer.npm}:
        name = package.partition("@")[0]
        with contextlib.suppress(OSError, ValueError, KeyError):
            manifest = json.loads((NODE_MODULES / name / "package.json").read_text("utf-8"))
            found[f"{name} (npm)"] = manifest["version"]
    lock = tomllib.loads((BENCHES / "rust" / "Cargo.lock").read_text("utf-8"))
    crates = {package["name"]: package["version"] for package in lock["package"]}
    found |= {peer.cargo: crates[peer.cargo] for peer in peers if peer.cargo in crates}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _reason(peer: Peer, wheel: Path | None) -> str:
    """Install a peer; if that fails, say why in a few words."""
    if peer.pip:
        return _install_from_pypi(peer)
    if peer.npm:
        return _install_from_npm(peer)
    if peer.cargo:
        return "" if (BINARIES / peer.cargo).exists() else "its server does not build"
    built = _install_wheel(wheel) if wheel else _install_checkout()
    return "" if built or not peer.checkout else "fastwsh does not build or install"


def _create_virtual_environment() -> None:
    """Create it without pip, for which Debian's Python has no files; ours serves it."""
    version = _output([str(PYTHON), "-c", "import platform; print(platform.python_version())"])
    if version.strip() == platform.python_version():
        return
    note(f"creating a virtual environment for Python {platform.python_version()}")
    command = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(STORE / "venv")]
    if not _run(command) or not _run([sys.executable, "-m", "pip", "--version"]):
        remedy = "on Debian, apt-get install python3-venv python3-pip"
        raise SetupError(f"{sys.executable} has no venv or no pip: {remedy}")


def _build_load_generator() -> None:
    note("building the load generator")
    if not _cargo("wsload"):
        raise SetupError(f"the load generator does not build: {_SEE_LOG}")


def _build_servers(crates: Sequence[str]) -> None:
    """Build all at once, which is quicker, or those that can be built."""
    note(f"building {', '.join(crates)}")
    for crate in crates:
        (BINARIES / crate).unlink(missing_ok=True)
    if not _cargo("rust", "--bins", "--features", ",".join(crates)):
        for crate in crates:
            _cargo("rust", "--bin", crate, "--features", crate)


def _cargo(folder: str, *options: str) -> bool:
    manifest = BENCHES / folder / "Cargo.toml"
    command = ["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest)]
    return _run([*command, *options])


@functools.cache
def _install_checkout() -> bool:
    """Build fastwsh, also for added peers, which may be the same server with other options."""
    note("building fastwsh (a first build takes minutes)")
    return _pip("install", str(CHECKOUT)) and _imports("fastwsh._core")


@functools.cache
def _install_wheel(wheel: Path) -> bool:
    """Install a wheel in the place of whatever has its version."""
    note(f"installing {wheel.name}")
    replaced = _pip("install", "--force-reinstall", "--no-deps", str(wheel))
    return replaced and _pip("install", str(wheel)) and _imports("fastwsh._core")


def _install_from_pypi(peer: Peer) -> str:
    names = [_distribution(requirement) for requirement in peer.pip]
    if len(_python_versions(names)) < len(names):
        note(f"installing {', '.join(peer.pip)}")
        if not _pip("install", *peer.pip):
            return f"{', '.join(peer.pip)} cannot be installed"
    return "" if _imports(peer.module) else f"{peer.module} cannot be imported"


def _install_from_npm(peer: Peer) -> str:
    names = [package.partition("@")[0] for package in peer.npm]
    if not all((NODE_MODULES / name).is_dir() for name in names):
        note(f"installing {', '.join(peer.npm)} with npm")
        options = ["--no-fund", "--no-audit", "--prefix", str(NODE_MODULES.parent)]
        if not _run(["npm", "install", *options, *peer.npm]):
            return f"{', '.join(peer.npm)} cannot be installed"
    return (
        "" if _run(["node", "-e", f"require('{NODE_MODULES / names[0]}')"]) else "it does not start"
    )


def _imports(module: str) -> bool:
    return _run([str(PYTHON), "-P", "-c", f"import {module}"])


def _pip(*arguments: str) -> bool:
    return _run([sys.executable, "-m", "pip", "--python", str(PYTHON), *arguments])


def _python_versions(names: Sequence[str]) -> dict[str, str]:
    output = _output([str(PYTHON), "-P", "-c", _VERSIONS, *names])
    versions: dict[str, str] = json.loads(output) if output else {}
    return versions


def _distribution(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _commit() -> str:
    """Return the commit that was built, and whether something was changed after it."""
    git = ["git", "-C", str(CHECKOUT)]
    commit = _output([*git, "rev-parse", "--short", "HEAD"]).strip()
    changed = _output([*git, "status", "--porcelain", "--", "src", "python", "Cargo.toml"])
    return f" ({commit}{', changed' if changed else ''})" if commit else ""


def _output(command: Sequence[str]) -> str:
    """Return what a command prints, nothing if it fails."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _run(command: Sequence[str]) -> bool:
    """Run a command with its output in the log; false if it fails."""
    inherited = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "CONDA_PREFIX"}}
    environ = {
        **inherited,
        # Not the checkout's own folder, in which somebody may be working.
        "CARGO_TARGET_DIR": str(STORE / "target"),
        "MATURIN_PEP517_ARGS": "--locked",
    }
    with _LOG.open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        try:
            done = subprocess.run(
                command, check=False, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        except OSError as error:
            log.write(f"{error}\n".encode())
            return False
    return done.returncode == 0
