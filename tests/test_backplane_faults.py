"""Engines of the backplane that freeze, speak TLS, or cannot be reached any more."""

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from backplane_support import ask_often, bridged, free_port, nats_server, redis_server
from wire import DEADLINE_SECONDS


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_engine_that_is_frozen(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    for name, seconds in ask_often().items():
        monkeypatch.setattr(name, seconds)
    serving = redis_server(tmp_path) if kind == "redis" else nats_server()
    with (
        serving as engine,
        bridged(engine.url, "ann") as (ann, _),
        bridged(engine.url, "bob") as (bob, gaps),
    ):
        bob.join("t")
        ann.wait_until_heard_by(bob, "t")
        engine.send_signal(signal.SIGSTOP)
        for outgoing in (ann, bob):
            outgoing.wait_for(lambda outgoing: not outgoing.is_connected)
        for _ in range(3):
            ann.publish("t", b"lost", is_sent=False)
        engine.send_signal(signal.SIGCONT)
        for outgoing in (ann, bob):
            outgoing.wait_for(lambda outgoing: outgoing.is_connected)
        bob.received.clear()
        ann.wait_until_heard_by(bob, "t")
        assert sum(missed for _, missed in gaps) >= 3


def certificates(folder: Path) -> dict[str, str]:
    """A certificate of an authority of its own: the files."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = {name: str(folder / f"{name}.pem") for name in ("ca", "key", "cert")}
    authority.cert_pem.write_to_path(files["ca"])
    certificate.private_key_pem.write_to_path(files["key"])
    certificate.cert_chain_pems[0].write_to_path(files["cert"])
    return files


@contextlib.contextmanager
def redis_server_with_tls(folder: Path) -> Iterator[str]:
    """A server with a certificate; its URL."""
    files = certificates(folder)
    port = free_port()
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, file in (("cert", "cert"), ("key", "key"), ("ca-cert", "ca")):
        options += [f"--tls-{name}-file", files[file]]
    with redis_server(folder, *options):
        yield f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={files['ca']}"


@contextlib.contextmanager
def nats_server_with_tls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same of NATS, whose authority OpenSSL has to be told."""
    files = certificates(folder)
    with nats_server("--tls", "--tlscert", files["cert"], "--tlskey", files["key"]) as engine:
        url = engine.url.replace("nats:", "tls:")
        monkeypatch.setenv("SSL_CERT_FILE", files["ca"])
        yield url


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_engine_with_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    serving = (
        redis_server_with_tls(tmp_path)
        if kind == "redis"
        else nats_server_with_tls(tmp_path, monkeypatch)
    )
    with serving as url, bridged(url, "ann") as (ann, _), bridged(url, "bob") as (bob, _):
        bob.join("t")
        ann.wait_until_heard_by(bob, "t")


@pytest.mark.parametrize("last_seconds", [1.0, 0.0])
def test_bridge_that_stops_while_it_subscribes_leaves_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_seconds: float
):
    # 0: the server does not answer the end of TLS in time
    monkeypatch.setattr("fastwsh.backplane.bridge._LAST_SECONDS", last_seconds)
    with redis_server_with_tls(tmp_path) as url, warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(8):
            with bridged(url, "ann") as (ann, _):
                ann.wait_for(lambda ann: ann.is_connected)
                ann.join("t")
        gc.collect()
    assert found == []


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_bridge_stops_while_an_engine_does_not_answer(kind: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("bridge", kind):
        monkeypatch.setattr(f"fastwsh.backplane.{name}._CONNECT_SECONDS", 2 * DEADLINE_SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as ending:
        with bridged(f"{kind}://127.0.0.1:{listener.getsockname()[1]}", "ann"):
            ending.enter_context(listener.accept()[0])
            began = time.monotonic()
        assert time.monotonic() - began < DEADLINE_SECONDS


CUT = """
import subprocess, sys
from pathlib import Path
from backplane_support import nats_server, redis_server
from pytest import MonkeyPatch
from backplane_support import bridged
from backplane_support import ask_often

for name, seconds in ask_often().items():
    MonkeyPatch().setattr(name, seconds)

def set_link(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)

set_link("up")
kind, folder = sys.argv[1:]
serving = redis_server(Path(folder)) if kind == "redis" else nats_server()
with (
    serving as engine,
    bridged(engine.url, "ann") as (ann, _),
    bridged(engine.url, "bob") as (bob, gaps),
):
    bob.join("t")
    ann.wait_until_heard_by(bob, "t")
    set_link("down")
    for outgoing in (ann, bob):
        outgoing.wait_for(lambda outgoing: not outgoing.is_connected)
    for _ in range(3):
        ann.publish("t", b"lost", is_sent=False)
    set_link("up")
    for outgoing in (ann, bob):
        outgoing.wait_for(lambda outgoing: outgoing.is_connected)
    bob.received.clear()
    ann.wait_until_heard_by(bob, "t")
    assert sum(missed for _, missed in gaps) >= 3, gaps
print("ended")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces are Linux'")
@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_network_that_is_cut(tmp_path: Path, kind: str):
    """In a network of its own, which has nothing but a loopback device."""
    if shutil.which("ip") is None:
        pytest.skip("needs the program ip")
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system allows no network namespaces")
    done = subprocess.run(
        [*alone, sys.executable, "-c", CUT, kind, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        timeout=3 * DEADLINE_SECONDS,
        check=False,
    )
    assert done.stdout == "ended\n", done.stderr
