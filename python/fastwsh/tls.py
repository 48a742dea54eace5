"""The files for the server's TLS, from the options."""

from __future__ import annotations

import os

from fastwsh.config_error import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["files"]


def files(options: Any) -> tuple[str, str, str | None, bool] | None:
    """Return the files for TLS, with paths that do not depend on the current folder."""
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
