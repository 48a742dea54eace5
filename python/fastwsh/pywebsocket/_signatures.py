"""Signatures as pywebsocket publishes them: without annotations.

The type checker reads the annotations in the source. Programs, however, compare the results of
`inspect.signature` with those of pywebsocket's functions, which have none.
"""

from __future__ import annotations

from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["hide_annotations"]


def hide_annotations(namespace: dict[str, Any]) -> None:
    """Remove the annotations of the functions and methods that a module defines.

    Args:
        namespace: The module's `globals()`, once everything in it is defined.
    """
    module = namespace["__name__"]
    for value in list(namespace.values()):
        if getattr(value, "__module__", None) != module:
            continue
        members = vars(value).values() if isinstance(value, type) else (value,)
        for member in members:
            function = member.fget if isinstance(member, property) else member
            if isinstance(function, FunctionType):
                function.__annotations__ = {}
