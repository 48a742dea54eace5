"""The TLS context of an echo server: None unless `ECHO_CERTIFICATE` names a PEM file."""

import os
import ssl


def context() -> ssl.SSLContext | None:
    """Make the context of a certificate and its key in one file."""
    path = os.environ.get("ECHO_CERTIFICATE")
    if not path:
        return None
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(path)
    return made
