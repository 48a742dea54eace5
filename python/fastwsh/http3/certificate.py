"""The certificate of a QUIC endpoint, from files as the native server reads them."""

import re
from pathlib import Path
from typing import Final

from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from fastwsh.config_error import ConfigError

__all__ = ["load"]

# A file may have other things beside the key, in any order.
_KEY: Final = re.compile(
    rb"-----BEGIN (?P<kind>(?:[A-Z]+ )?PRIVATE KEY)-----.*?-----END (?P=kind)-----\n?", re.DOTALL
)


def load(configuration: QuicConfiguration, certificate: str, private_key: str) -> None:
    """Set the certificate that new connections show; on failure nothing changes.

    Args:
        configuration: That of the endpoint.
        certificate: A file with the chain, PEM.
        private_key: A file with the key, PEM.

    Raises:
        ConfigError: One of them cannot be used.
    """
    try:
        chain = load_pem_x509_certificates(Path(certificate).read_bytes())
        found = _KEY.search(Path(private_key).read_bytes())
        if found is None:
            raise ValueError("there is no private key")  # noqa: TRY301 (told like the others)
        key = load_pem_private_key(found[0])
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"HTTP/3 cannot use the certificate {certificate!r} with the key {private_key!r} "
            f"({error}); name others with --certificate and --private-key"
        ) from error
    configuration.certificate, *configuration.certificate_chain = chain
    configuration.private_key = key
