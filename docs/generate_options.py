"""Write options.md, the reference of every option, from the parser of the command line.

    python docs/generate_options.py

A test compares the file with what this writes.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from fastwsh.client.arguments import build_parser as client_parser
from fastwsh.options import build_parser
from fastwsh.settings import arguments, environment, limits

TARGET = Path(__file__).with_name("options.md")

_HEAD = """\
# Options

<!-- Written by docs/generate_options.py; change the help of an option instead. -->

This page lists every option of `python -m fastwsh`, with the text of `--help`. Underscores may
replace the dashes in long names: `--log_level` is `--log-level`.

The server looks for an option in three places, and takes the first value that it finds:

1. the command line;
2. the environment: `FASTWSH_LOG_LEVEL=info` is `--log-level info`. Write `1` or `0` for a flag,
   and commas between the values of an option that may be repeated. An empty variable counts as not
   set;
3. the file that `--config` names.

If an option or value is wrong, the program ends with exit status 2. If the server cannot start, it
ends with exit status 1. One sentence on standard error says why. An option that has no effect
without another one, such as `--certificate` without `--tls`, is a warning in the log.
"""

_CONFIG = """\
## Configuration file

A configuration file has one section, `[pywebsocket]`. In it, options have their long names without
the leading dashes:

```ini title="server.ini"
[pywebsocket]
port = 9998
log-level = info
max-message-bytes = 65536
```

```console
$ python -m fastwsh --config server.ini --check
0 loaded, 0 failed
```

An option without a value is turned on by `1`, `true`, `yes`, `on` or nothing after the `=`, and
left off by `0`, `false`, `no` or `off`. The ones that pywebsocket has as well are turned on by any
value, as there: `--allow-handlers-outside-root-dir`, `--basic-auth`, `--tls`, `--tls-client-auth`
and `--tls-client-cert-optional`. A warning says so if the value means no. Values of an option that
may be repeated are separated by commas.
"""

_OLD = """\
## Old names

These options are accepted with a warning, for scripts that were written for older versions of
pywebsocket:

| option | |
|---|---|
"""

_CLIENT = """\
## The client

`python -m fastwsh.client` connects to a server, as a console or in scripts; see [the
client](client.md). Its options cannot be set by environment variables or in a file.
"""

_REASONS = """\
### Why these defaults

| option | default | why |
|---|---|---|
"""


def render() -> str:
    """Return the page."""
    parser = build_parser()
    parts = [_HEAD]
    for group in parser._action_groups:
        parts += _group("##", parser, group)
        if group.title == "limits":
            parts.append(_REASONS + "".join(map(_reason, limits.LIMITS)))
    old = "".join(
        f"| `{name}` | {_marked(text)} |\n" for name, text in arguments._OLD_NAMES.items()
    )
    parts += [_OLD + old, _CONFIG, _CLIENT]
    parser = client_parser()
    for group in parser._action_groups:
        parts += _group("###", parser, group, has_variables=False)
    return "\n".join(parts)


def _group(
    level: str,
    parser: argparse.ArgumentParser,
    group: argparse._ArgumentGroup,
    *,
    has_variables: bool = True,
) -> list[str]:
    shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
    if not shown:
        return []
    title = "general" if group.title == "options" else group.title or "other"
    rows = "".join(
        f"| {_names(a)} | {_help(parser, a)}{_variables(a) if has_variables else ''} |\n"
        for a in shown
    )
    return [f"{level} {title[0].upper()}{title[1:]}\n", "| option | meaning |\n|---|---|\n" + rows]


def _names(action: argparse.Action) -> str:
    value = _value(action)
    names = [name for name in action.option_strings if "_" not in name] or [""]
    return "<br>".join(f"`{name}{value}`" for name in names)


def _value(action: argparse.Action) -> str:
    if not action.option_strings:
        return action.dest
    if action.nargs == 0:
        return ""
    if action.metavar is not None:
        value = str(action.metavar)
    elif action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = action.dest.upper()
    return f" [{value}]" if action.nargs == "?" else f" {value}"


def _variables(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in environment.variable_names(action))
    return f"<br>In the environment: {names}" if names else ""


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    text = _marked(text)
    text = text.replace("|", r"\|").replace("*", r"\*").replace("[pywebsocket]", "`[pywebsocket]`")
    return text if "://" in text.split()[0] else text[0].upper() + text[1:]


def _marked(text: str) -> str:
    return re.sub(r"(?<![\w`-])(--?[a-zA-Z][\w-]*)", r"`\1`", text)


def _reason(limit: limits.Limit) -> str:
    return f"| `{limit.option}` | {_marked(limit.default_in_words)} | {_marked(limit.reason)} |\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
