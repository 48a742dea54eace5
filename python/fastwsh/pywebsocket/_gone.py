"""Modules and classes of pywebsocket 0.7 without a purpose today, and what to do instead.

pywebsocket dropped them before 4.0. Importing one fails with a sentence that tells the user of an
old handler more than "no such module".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


__all__ = ["MODULES", "refuse"]

_DRAFTS: Final = (
    "the drafts of the protocol before version 13 are gone, since no client speaks them; "
    "RFC 6455 needs no module of its own"
)
_EXTENSION: Final = (
    "that extension never became a standard; permessage-deflate (RFC 7692) is in "
    "extensions.PerMessageDeflateExtensionProcessor"
)

MODULES: Final = {
    "_stream_hixie75": _DRAFTS,
    "handshake.draft75": _DRAFTS,
    "handshake.hybi00": _DRAFTS,
    "handshake.hybi06": _DRAFTS,
    "deflate_stream_extension": _EXTENSION,
    "mux": "multiplexing over one connection never became a standard; open a connection for each",
    "fast_masking": "masking is native; util.RepeatedXorMasker masks",
    "headerparserhandler": (
        "it ran handlers in Apache's mod_python; run python -m fastwsh, behind Apache if needed"
    ),
    "xhr_benchmark_handler": "it served pywebsocket's own benchmark page",
}


def refuse(name: str, alias: str) -> None:
    """Raise ImportError if a module is one of these.

    Args:
        name: Its name in the package.
        alias: The name by which it is imported.
    """
    reason = MODULES.get(name)
    if reason is not None:
        raise ModuleNotFoundError(f"{alias} does not exist any more: {reason}", name=alias)
