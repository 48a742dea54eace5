"""What a worker answers the inspector, which its parent serves: questions and answers in JSON."""

import base64
from typing import Any, Final

from fastwsh.inspector.local import Local

__all__ = ["answer"]

# An answer with more of payloads would keep other questions waiting.
_RECORD_BYTES: Final = 4 << 20

_PLAIN: Final = frozenset(
    {
        "ids",
        "keys",
        "rows",
        "connection",
        "note",
        "close",
        "reset",
        "half_close",
        "set_pace",
        "drop_at",
    }
)


def answer(server: Any, question: dict[str, Any]) -> dict[str, Any]:
    """Call a method of the inspection of this process.

    Args:
        server: The server of this process; None before there is one.
        question: `call` is the name of the method, `arguments` are its arguments by name.

    Returns:
        The result, or what was wrong with the arguments, or that there is nothing to ask.
    """
    inspection = None if server is None else Local(server).inspection
    if inspection is None:
        # it has not begun to serve, or has ended
        return {"knows": False}
    call, arguments = question["call"], question["arguments"]
    try:
        if call == "facts":
            result = Local(server).facts(0)
        elif call == "records":
            result = _records(inspection, arguments)
        elif call == "insert":
            data = base64.b64decode(arguments["data"])
            result = inspection.insert(arguments["id"], data, arguments["is_message"])
        elif call in _PLAIN:
            result = getattr(inspection, call)(**arguments)
        else:
            return {"error": f"there is no {call!r}"}
    except (OSError, OverflowError, TypeError, ValueError) as error:
        return {"error": str(error)}
    return {"result": result}


def _records(inspection: Any, arguments: dict[str, Any]) -> Any:
    """Return records with their payloads in base64; fewer than are asked for if they are long."""
    found = inspection.records(**arguments)
    if found is None:
        return None
    size = 0
    taken: list[dict[str, Any]] = []
    for record in found["records"]:
        if "data" in record:
            size += len(record["data"])
            if taken and size > _RECORD_BYTES:
                break
            record["data"] = base64.b64encode(record["data"]).decode()
        taken.append(record)
    found["records"] = taken
    return found
