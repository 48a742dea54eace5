"""Options that were given and have no effect, because of another one: a sentence for each.

Most of them are left over, or the other one was forgotten. Both are mistakes that nothing else
shows, and some leave a server open: a certificate without TLS, a credential that nobody asks for.
Options that contradict each other are refused, see `config.check_options`.
"""

from __future__ import annotations

import logging

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterator
    from typing import Any, Final

__all__ = ["sentences", "tell"]

_LOGGER: Final = logging.getLogger("fastwsh.server")


class _Rule:
    """Options that need another one.

    Args:
        names: The options, by where they are in the namespace.
        is_met: Whether they have an effect.
        why: Why they have none; `{name}` stands for the option of that name.
    """

    def __init__(self, *names: str, is_met: Callable[[Any], object], why: str) -> None:
        self.names = names
        self.is_met = is_met
        self.why = why


_RULES: Final = (
    _Rule(
        *("http3_port", "http3_retry", "max_http3_streams", "max_http3_resets"),
        is_met=lambda given: given.http3,
        why="without {http3}",
    ),
    _Rule(
        *("max_http2_streams", "max_http2_resets"),
        is_met=lambda given: given.http2,
        why="without {http2}",
    ),
    _Rule(
        *("private_key", "certificate"),
        is_met=lambda given: given.use_tls,
        why="without {use_tls}, and connections are not encrypted",
    ),
    _Rule(
        "tls_client_ca",
        is_met=lambda given: given.use_tls and given.tls_client_auth,
        why="without {use_tls} and {tls_client_auth}, and clients need no certificate",
    ),
    _Rule(
        "basic_auth_credential",
        is_met=lambda given: given.use_basic_auth,
        why="without {use_basic_auth}, and clients need no password",
    ),
    _Rule(
        *("cgi_timeout", "max_http_body_bytes"),
        is_met=lambda given: given.cgi_paths,
        why="without {cgi_paths}",
    ),
    _Rule(
        "ping_timeout",
        is_met=lambda given: given.ping_interval,
        why="without {ping_interval}",
    ),
    _Rule(
        "metrics_host",
        is_met=lambda given: given.metrics_port is not None,
        why="without {metrics_port}",
    ),
    _Rule(
        *("log_max", "log_count"),
        is_met=lambda given: given.log_file or given.access_log not in {"", "-"},
        why="without {log_file} or a file for {access_log}",
    ),
    _Rule(
        "log_count",
        is_met=lambda given: given.log_max or not (given.log_file or given.access_log),
        why="with {log_max} 0, as no file is rotated",
    ),
    _Rule(
        "thread_monitor_interval_in_sec",
        is_met=lambda given: (
            given.thread_monitor_interval_in_sec <= 0
            or given.log_level in {"fine", "debug", "info"}
        ),
        why="with this {log_level}: the threads are logged at level info",
    ),
    # a server tells of other handlers that do not run there
    _Rule(
        "hubs",
        is_met=lambda given: given.concurrency != "threads" or given.hubs == 1,
        why="with {concurrency} threads",
    ),
    _Rule(
        "deflate_min_bytes",
        is_met=lambda given: given.deflate_level != 0,
        why="with {deflate_level} 0, as nothing is compressed",
    ),
    _Rule(
        "max_frame_bytes",
        is_met=lambda given: not 0 < given.max_message_bytes <= given.max_frame_bytes,
        why="beside {max_message_bytes}, which is not larger",
    ),
    _Rule(
        "max_connections_per_address",
        is_met=lambda given: not 0 < given.max_connections <= given.max_connections_per_address,
        why="beside {max_connections}, which is not larger",
    ),
    _Rule(
        "slow_subscriber",
        is_met=lambda given: given.topic_queue_bytes,
        why="with {topic_queue_bytes} 0, as the queue has no limit",
    ),
    _Rule(
        "request_queue_size",
        is_met=lambda given: not given.fd or given.bind or given.uds or given.port_is_named,
        why="with {fd} alone: whoever has opened a socket has chosen the length of its queue",
    ),
)


def sentences(
    parser: argparse.ArgumentParser, options: argparse.Namespace, given: Collection[str]
) -> Iterator[str]:
    """Give a sentence for each option of the command line that has no effect.

    Args:
        parser: Knows the options.
        options: All options, with what follows from others filled in.
        given: Those that were given, by where they are in `options`.
    """
    return _find(options, given, _long_options(parser))


def tell(
    parser: argparse.ArgumentParser, options: argparse.Namespace, given: Collection[str]
) -> None:
    """Log the same of options that are arguments of a function."""
    spelled = {dest: name[2:].replace("-", "_") for dest, name in _long_options(parser).items()}
    for sentence in _find(options, given, spelled):
        _LOGGER.warning("%s", sentence)


def _find(
    options: argparse.Namespace, given: Collection[str], spelled: dict[str, str]
) -> Iterator[str]:
    for rule in _RULES:
        names = [spelled[name] for name in rule.names if name in given]
        if names and not rule.is_met(options):
            verb, rest = ("have", "them") if len(names) > 1 else ("has", "it")
            why = rule.why.format_map(spelled)
            yield f"{' and '.join(names)} {verb} no effect {why}; change that, or leave {rest} out"


def _long_options(parser: argparse.ArgumentParser) -> dict[str, str]:
    return {
        action.dest: next(name for name in action.option_strings if name.startswith("--"))
        for action in reversed(parser._actions)
        if action.option_strings
    }
