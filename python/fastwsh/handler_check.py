"""`--check`: loads all handlers and reports, without listening."""

import argparse

from fastwsh.output import banner
from fastwsh.process import start_failures
from fastwsh.server import load_handlers
from fastwsh.settings import config

__all__ = ["run"]


def run(options: argparse.Namespace, workers: int) -> int:
    """Load all handlers and report what was found; return the exit status.

    Args:
        options: After all checks.
        workers: How many processes there would be.

    Raises:
        ConfigError: The folder of the handlers or the map file cannot be used.
    """
    try:
        dispatcher = load_handlers(options)
    except Exception as error:
        raise config.ConfigError(start_failures.explain(error, options)) from error
    found = banner.listing(dispatcher._handler_suite_map)
    failed = dispatcher.source_warnings()
    shown = [f"{resource} -> {file}" for resource, file in found]
    for warning in failed:
        lines = warning.strip().splitlines()
        shown += [("    " if number else "failed: ") + line for number, line in enumerate(lines)]
    if workers > 1:
        from fastwsh.workers import module_state  # noqa: PLC0415 (few need it)

        files = [file for _, file in found]
        for sentence in module_state.warnings(files, options.handler_encoding, workers):
            shown.append(f"warning: {sentence}")
    shown.append(f"{len(found)} loaded, {len(failed)} failed")
    return banner.write(shown, 1 if failed else 0)
