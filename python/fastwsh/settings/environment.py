"""`FASTWSH_<OPTION>`: options from the environment, between the command line and the file.

Owns the names of the variables and how their values are read: flags by yes or no, options that
may be repeated separated by commas, everything else as on the command line. An empty variable
counts as one that is not set, as it is in the files that container tools read.
"""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

__all__ = ["VariableError", "flag", "read", "variable_names"]

_PREFIX: Final = "FASTWSH_"

# These print something and end the process; they set nothing.
_COMMANDS: Final = frozenset({"--help", "--print-dropin-path", "--version"})

_FLAG_VALUES: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class VariableError(Exception):
    """A variable with a value that its option refuses; `str()` is a sentence that names it."""


def flag(text: str) -> bool | None:
    """Return what the text says of a flag: yes, no, or None for neither."""
    return _FLAG_VALUES.get(text.strip().lower())


def variable_names(action: argparse.Action) -> list[str]:
    """Return the variables of an option: one for each long spelling, none for old names."""
    if action.help is argparse.SUPPRESS:
        return []
    return [
        _PREFIX + name[2:].replace("-", "_").upper()
        for name in action.option_strings
        if name.startswith("--") and "_" not in name and name not in _COMMANDS
    ]


def read(
    parser: argparse.ArgumentParser, environ: Mapping[str, str], namespace: argparse.Namespace
) -> None:
    """Set in `namespace` what the environment says, as parsing the command line would.

    Args:
        parser: Has the options.
        environ: The variables.
        namespace: Has None for every option, and `start_warnings`, which gains one for variables
            with our prefix that no option has.

    Raises:
        VariableError: A value cannot be used, or two variables name the same option.
    """
    unknown = {name for name, value in environ.items() if name.startswith(_PREFIX) and value}
    if not unknown:
        return
    for action in parser._actions:
        names = [name for name in variable_names(action) if environ.get(name)]
        unknown.difference_update(names)
        if len(names) > 1:
            raise VariableError(f"{' and '.join(names)} are the same option; set one of them")
        for name in names:
            _apply(parser, action, name, environ[name], namespace)
    if unknown:
        listed = ", ".join(sorted(unknown))
        namespace.start_warnings += (f"no option has the name of {listed}: ignored",)


def _apply(
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    variable: str,
    text: str,
    namespace: argparse.Namespace,
) -> None:
    if action.nargs == 0:
        value = flag(text)
        if value is None:
            raise VariableError(f"{variable}={text!r} is neither yes nor no (1, true, 0, false)")
        setattr(namespace, action.dest, value)
        return
    repeatable = isinstance(action, argparse._AppendAction)
    option = "--" + variable.removeprefix(_PREFIX).replace("_", "-").lower()
    parts = [part.strip() for part in text.split(",")] if repeatable else [text]
    for part in parts:
        action(parser, namespace, _convert(action, variable, part), option)


def _convert(action: argparse.Action, variable: str, text: str) -> Any:
    convert: Any = action.type or str
    try:
        value = convert(text)
    except argparse.ArgumentTypeError as error:
        raise VariableError(f"{variable}: {error}") from error
    except (TypeError, ValueError) as error:
        kind = "a number" if convert is int else "a value for this option"
        raise VariableError(f"{variable}: {text!r} is not {kind}") from error
    if action.choices is not None and value not in action.choices:
        known = ", ".join(map(str, action.choices))
        raise VariableError(f"{variable}: {text!r} is none of {known}")
    return value
