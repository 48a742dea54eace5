"""A certificate authority of the tests, and what server and client need of it."""

import ssl
from pathlib import Path

import pytest
import trustme


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that the clients of a module trust."""
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """What a client needs to trust our servers."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def certificate(authority: trustme.CA, folder: Path, name: str) -> list[str]:
    """Write a certificate for a name; give the server's options for it."""
    leaf = authority.issue_cert(name)
    leaf.private_key_pem.write_to_path(str(folder / f"{name}-key.pem"))
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    (folder / f"{name}.pem").write_bytes(chain)
    return ["-t", "-k", f"{name}-key.pem", "-c", f"{name}.pem"]
