"""The configuration file: pywebsocket's INI format, read as arguments of the command line."""

import argparse

from fastwsh.config_error import ConfigError
from fastwsh.settings import environment

__all__ = ["read_arguments"]

_SECTION = "pywebsocket"
# Options that make no sense in a file: they end the process, or name the file itself.
_COMMAND_LINE_ONLY = frozenset(
    {"--config", "--check", "--help", "--print-dropin-path", "--version"}
)
# pywebsocket's own flags. There an entry turns them on, whatever its value.
_FLAGS_OF_PYWEBSOCKET = frozenset(
    {
        "--allow-handlers-outside-root-dir",
        "--basic-auth",
        "--tls",
        "--tls-client-auth",
        "--tls-client-cert-optional",
    }
)


def read_arguments(path: str, parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """Read a configuration file as arguments to put in front of the command line.

    The format is pywebsocket's: an INI file with a section `[pywebsocket]` that has an entry per
    option, named by the long name without its dashes. A flag is set by an empty value or one that
    says yes, and left alone by one that says no; pywebsocket's own flags are set by any value, as
    there, with a warning for `tls = False`. Values of an option that may be repeated are separated
    by commas.

    Args:
        path: The file, seen from the folder in which the program was started.
        parser: Defines which options exist and which of them take a value.

    Returns:
        The arguments, and warnings: for each entry that is not an option, which is ignored as in
        pywebsocket, and for each that says no and sets its flag all the same.

    Raises:
        ConfigError: The file cannot be read or understood, or an entry for a flag says neither yes
            nor no.
    """
    arguments, warnings = [], []
    for name, value in _entries(path):
        option = f"--{name}"
        action = parser._option_string_actions.get(option)
        if action is None or option in _COMMAND_LINE_ONLY:
            warnings.append(f"the entry {name!r} of {path!r} is no option for a file: ignored")
        elif action.nargs == 0:
            is_set = _is_set(action, value)
            if is_set is None:
                raise ConfigError(
                    f"the entry '{name} = {value}' of {path!r} is neither yes nor no (1, true, 0, "
                    "false)"
                )
            if is_set and environment.flag(value) is False:
                warnings.append(
                    f"the entry '{name} = {value}' of {path!r} turns {option} on, as in "
                    "pywebsocket; remove it to leave the option off"
                )
            if is_set:
                arguments.append(option)
        elif isinstance(action, argparse._AppendAction):
            arguments += [f"{option}={part.strip()}" for part in value.split(",")]
        else:
            arguments.append(f"{option}={value}")
    return arguments, warnings


def _entries(path: str) -> list[tuple[str, str]]:
    """Read the names and values of a configuration file.

    Raises:
        ConfigError: It cannot be read or understood.
    """
    import configparser  # noqa: PLC0415 (few servers have such a file)

    reader = configparser.ConfigParser()
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123 (a string as given)
            reader.read_file(file)
        return reader.items(_SECTION)
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration file {path!r} ({error.strerror}); "
            "name a readable one with --config"
        ) from error
    except configparser.NoSectionError as error:
        raise ConfigError(
            f"the configuration file {path!r} has no section [{_SECTION}]; "
            "put the options under that heading"
        ) from error
    except UnicodeDecodeError as error:
        raise _not_understood(path, error, "save it as UTF-8") from error
    except configparser.MissingSectionHeaderError as error:
        raise _not_understood(
            path, error, f"put the options under the heading [{_SECTION}]"
        ) from error
    except (configparser.DuplicateOptionError, configparser.DuplicateSectionError) as error:
        raise _not_understood(path, error, "leave one of the two") from error
    except configparser.InterpolationError as error:
        raise _not_understood(path, error, "write %% for a percent sign") from error
    except configparser.Error as error:
        raise _not_understood(path, error, "write one 'name = value' per line") from error


def _not_understood(path: str, error: Exception, remedy: str) -> ConfigError:
    reason = " ".join(str(error).split())
    return ConfigError(f"cannot understand the configuration file {path!r} ({reason}); {remedy}")


def _is_set(flag: argparse.Action, value: str) -> bool | None:
    """Return whether the value of an entry sets its flag; None if it says neither yes nor no."""
    # old names are of pywebsocket too
    is_of_pywebsocket = flag.help is argparse.SUPPRESS or not _FLAGS_OF_PYWEBSOCKET.isdisjoint(
        flag.option_strings
    )
    return is_of_pywebsocket or not value.strip() or environment.flag(value)
