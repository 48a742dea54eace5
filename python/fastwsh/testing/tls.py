"""The certificate of a test server: which files, and files made for the occasion.

trustme, which makes them, is asked for only when somebody needs them.
"""

import ssl
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

__all__ = ["TlsFiles", "make_tls_files"]


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files for a server that speaks TLS.

    Attributes:
        certificate: The certificate, and behind it those up to the authority.
        private_key: Its key, without a passphrase.
        client_ca: The authorities that client certificates come from; with them, clients need one.
        authority: What clients have to trust; None: the certificate itself, which then has to be
            self-signed.
    """

    certificate: str | PathLike[str]
    private_key: str | PathLike[str]
    client_ca: str | PathLike[str] | None = None
    authority: str | PathLike[str] | None = None

    @property
    def ca_file(self) -> str:
        """The file with the certificate that clients have to trust."""
        return str(self.authority or self.certificate)

    def client_context(self) -> ssl.SSLContext:
        """Make a context for clients that trusts this server, and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca_file)
        return context


def make_tls_files(folder: Path, *names: str) -> TlsFiles:
    """Make an authority and a certificate of it.

    Args:
        folder: Where the files go; it must exist.
        names: Host names and addresses that the certificate is for, by default 127.0.0.1, ::1 and
            localhost.

    Raises:
        ImportError: trustme is not installed.
    """
    import trustme  # noqa: PLC0415 (only here, and not a requirement)

    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("127.0.0.1", "::1", "localhost")))
    certificate, key, ca = (folder / name for name in ("chain.pem", "key.pem", "ca.pem"))
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    key.chmod(0o600)
    ca.write_bytes(authority.cert_pem.bytes())
    return TlsFiles(certificate, key, authority=ca)
