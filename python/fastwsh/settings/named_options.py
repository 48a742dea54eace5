"""The server's options as keyword arguments, by the names that they have on the command line."""

import argparse
import difflib
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["apply", "check_address"]


def check_address(host: object, port: object) -> None:
    """Check the arguments that say where a server listens.

    Args:
        host: A name or an address.
        port: A TCP port; 0 stands for any free one.

    Raises:
        TypeError: The host is no str, or the port no int.
        ValueError: The port is not from 0 to 65535.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port={port!r}; give a number, 0 for any free port")
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port}; give a number from 0, for any free port, to 65535")
    if not isinstance(host, str):
        raise TypeError(f"host={host!r}; give a name or an address, such as '127.0.0.1'")


def apply(
    given: argparse.Namespace,
    parser: argparse.ArgumentParser,
    values: Mapping[str, Any],
    without: Collection[str],
    owner: str,
) -> set[str]:
    """Set options by name, such as `max_message_bytes=100` or `strict_compat=True`.

    Args:
        given: Where to set them.
        parser: Knows the options.
        values: Their values.
        without: Those that may not be set, by where they are in `given`.
        owner: Whose options they are, for people.

    Returns:
        Where the values are in `given`.

    Raises:
        TypeError: There is no such option, or it may not be set.
        ValueError: A value cannot be used.
    """
    actions = _by_name(parser, without) if values else {}
    places = set()
    for name, value in values.items():
        action = actions.get(name)
        if action is None:
            if name in _by_name(parser, ()):
                raise TypeError(
                    f"{name!r} is no option of {owner}, only of the command line; leave it out"
                )
            nearest = difflib.get_close_matches(name, actions, 1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(actions)}"
            raise TypeError(f"{name!r} is no option of {owner}; {hint}")
        setattr(given, action.dest, _parse(name, action, value))
        places.add(action.dest)
    return places


def _by_name(
    parser: argparse.ArgumentParser, without: Collection[str]
) -> dict[str, argparse.Action]:
    """Return the options that may be set, by every name that they have."""
    actions: dict[str, argparse.Action] = {}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or action.dest in without:
            continue
        actions[action.dest] = action
        for option in action.option_strings:
            if option.startswith("--"):
                actions.setdefault(option[2:].replace("-", "_"), action)
    return actions


def _parse(name: str, action: argparse.Action, value: Any) -> Any:
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r}: it must be True or False")
        return value
    parse = action.type
    parsed: Any
    if not callable(parse):
        parsed = str(value)
    else:
        try:
            parsed = parse(f"{value:g}" if isinstance(value, float) else str(value))
        except (argparse.ArgumentTypeError, TypeError, ValueError) as error:
            raise ValueError(f"{name}={value!r}: {error}") from error
    if action.choices is not None and parsed not in action.choices:
        raise ValueError(f"{name}={value!r}: it must be one of {', '.join(action.choices)}")
    return parsed
