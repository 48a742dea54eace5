"""The loads, and which figures of the load generator's reports are shown for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number in a report: its title, its place, what to multiply it with, and its decimals."""

    title: str
    place: str
    scale: float = 1
    decimals: int = 0

    def shown(self, value: float) -> str:
        """Write the number."""
        return f"{value * self.scale:z,.{self.decimals}f}"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One load."""

    name: str
    title: str
    # For the load generator.
    arguments: tuple[str, ...]
    figures: tuple[Figure, ...]
    # What ratios are of: more is better in `rate`, less in `cost`.
    rate: Figure | None
    cost: Figure
    # What kind of server it needs: "echo", "topics", or "workers", which echo.
    kind: str = "echo"
    # Idle connections, where these are what is measured.
    idle: int = 0
    # Who gets what is published, and to how many topics they have subscribed.
    subscribers: int = 0
    topics: int = 1
    deflate: bool = False

    @property
    def letter(self) -> str:
        """What it is called on the command line."""
        return self.name[0]


MESSAGES = Figure("messages/s", "messages_per_s")
MEGABYTES = Figure("MB/s", "mb_per_s")
P50 = Figure("p50 µs", "latency_us.p50")
P99 = Figure("p99 µs", "latency_us.p99")
CPU = Figure("server µs/message", "cpu.server_us", decimals=2)

HANDSHAKES = Figure("handshakes/s", "handshakes_per_s")
OPEN_P50 = Figure("open p50 µs", "open_latency_us.p50")
OPEN_P99 = Figure("open p99 µs", "open_latency_us.p99")
CPU_EACH = Figure("server µs each", "cpu.server_us", decimals=1)

CPU_BUSIEST = Figure("busiest process, µs/message", "cpu.server_busiest_us", decimals=2)

CPU_DELIVERY = Figure("server µs/delivery", "cpu.server_us", decimals=2)
FIRST_TO_LAST = Figure("first to last ms", "first_to_last_ms", decimals=1)
ASKED_TO_LAST = Figure("asked to last ms", "asked_to_last_ms", decimals=1)

MEMORY_OPENED = Figure("KiB each (PSS), opened", "opened.pss", decimals=1)
MEMORY = Figure("KiB each, after an echo", "echoed.pss", decimals=1)
KERNEL_STACK = Figure("kernel stacks, KiB each", "echoed.kernel_stack", decimals=1)
THREADS = Figure("threads each", "echoed.threads", decimals=2)
START_MEMORY = Figure("MiB before", "before_kib.pss", scale=1 / 1024, decimals=1)
CONNECTIONS = Figure("connections", "connections")


def _echo(name: str, title: str, *arguments: str, more: tuple[Figure, ...] = ()) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        arguments=("echo", *arguments),
        figures=(MESSAGES, P50, P99, CPU, *more),
        rate=MESSAGES,
        cost=CPU,
        deflate="--deflate" in arguments,
    )


def _idle(connections: int) -> Scenario:
    return Scenario(
        name=f"H{connections}",
        title=f"{connections:,} idle connections",
        arguments=("idle", "--hold", "2"),
        figures=(CONNECTIONS, MEMORY_OPENED, MEMORY, THREADS, KERNEL_STACK, START_MEMORY),
        rate=None,
        cost=MEMORY,
        idle=connections,
    )


def _topics(name: str, title: str, subscribers: int, topics: int = 1) -> Scenario:
    return Scenario(
        name=name,
        title=title,
        arguments=("topics",),
        figures=(CPU_DELIVERY, FIRST_TO_LAST, ASKED_TO_LAST),
        rate=None,
        cost=CPU_DELIVERY,
        kind="topics",
        subscribers=subscribers,
        topics=topics,
    )


def _workers(connections: int) -> Scenario:
    return Scenario(
        name=f"L{connections}",
        title=f"{connections:,} connections, 32 B text, workers",
        arguments=("echo", "--size", "32", "--connections", str(connections)),
        figures=(MESSAGES, P50, P99, CPU, CPU_BUSIEST),
        # what a server can do ends where its busiest process has no time left
        rate=None,
        cost=CPU_BUSIEST,
        kind="workers",
    )


_LARGE = ("--size", "65536", "--binary", "--connections", "8", "--pipeline", "4")
_DEFLATE = ("--size", "1024", "--connections", "64", "--deflate")

SCENARIOS = (
    _echo("A", "1 connection, 32 B text, one at a time", "--size", "32"),
    _echo("B", "1 connection, 32 B text, 64 under way", "--size", "32", "--pipeline", "64"),
    _echo("C", "64 connections, 32 B text", "--size", "32", "--connections", "64"),
    _echo("D", "1,000 connections, 32 B text", "--size", "32", "--connections", "1000"),
    _echo("E", "8 connections, 64 KiB binary, 4 under way", *_LARGE, more=(MEGABYTES,)),
    _echo("F", "1 connection, 1 MiB binary", "--size", "1048576", "--binary", more=(MEGABYTES,)),
    Scenario(
        name="G",
        title="handshakes, 16 under way",
        arguments=("connect", "--concurrency", "16"),
        figures=(HANDSHAKES, OPEN_P50, OPEN_P99, CPU_EACH),
        rate=HANDSHAKES,
        cost=CPU_EACH,
    ),
    _idle(2_000),
    _idle(10_000),
    _echo(
        "I",
        "64 connections, 1 KiB JSON-like text, permessage-deflate",
        *_DEFLATE,
        more=(Figure("bytes per reply", "wire_bytes_per_reply"),),
    ),
    _topics("J1000", "one message to 1,000 subscribers", 1_000),
    _topics("J10000", "one message to 10,000 subscribers", 10_000),
    _topics("K", "one message to 10 subscribers, in each of 100 topics", 1_000, 100),
    _workers(64),
    _workers(1_000),
)


def chosen(letters: str) -> list[Scenario]:
    """Return the scenarios with these letters, which are separated by commas.

    Raises:
        ValueError: There is no scenario of a letter.
    """
    known = dict.fromkeys(scenario.letter for scenario in SCENARIOS)
    wanted = {letter.strip().upper() for letter in letters.split(",") if letter.strip()}
    for letter in sorted(wanted):
        if letter not in known:
            raise ValueError(f"there is no scenario {letter!r}: choose from {', '.join(known)}")
    return [scenario for scenario in SCENARIOS if scenario.letter in wanted]
