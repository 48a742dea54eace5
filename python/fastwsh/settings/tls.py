"""The files for the server's TLS, from the options."""

from __future__ import annotations

import logging
import os

from fastwsh import _core
from fastwsh.config_error import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = ["files", "warn"]

_LOGGER: Final = logging.getLogger("fastwsh.server")


def files(options: Any) -> tuple[str, str, str | None, bool] | None:
    """Return the files for TLS, with paths that do not depend on the current folder.

    Returns:
        The private key, the certificate chain, the authorities of client certificates (None if
        clients need none), and whether a client may come without one; None without TLS.

    Raises:
        ConfigError: Client certificates are wanted, and no authority is named.
    """
    if not getattr(options, "use_tls", False):
        return None
    authority = None
    if getattr(options, "tls_client_auth", False):
        authority = getattr(options, "tls_client_ca", None)
        if not authority:
            raise ConfigError(
                "client certificates need the authorities that they come from; add --tls-client-ca"
            )
        authority = os.path.abspath(authority)  # noqa: PTH100 (no links are resolved)
    return (
        os.path.abspath(options.private_key),  # noqa: PTH100
        os.path.abspath(options.certificate),  # noqa: PTH100
        authority,
        bool(getattr(options, "tls_client_cert_optional", False)),
    )


def warn(options: Any) -> None:
    """Log that the certificate has expired or is not valid yet, as clients will refuse it."""
    named = files(options)
    if named is None:
        return
    fault = _core.Server.certificate_fault(named)
    if fault is not None:
        _LOGGER.warning(
            "The certificate %s %s, so clients will refuse it; renew it, or check the clock",
            named[1],
            fault,
        )
