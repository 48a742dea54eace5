"""Messages that come while a line is being typed, and what is then on the screen."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_support import Peer, serving
from conftest import clean_environment
from fastwsh.client.typed import above, cells, shown
from screen import Screen
from wire import DEADLINE_SECONDS, TEXT

LEFT = "\x1b[D"
HOME = "\x01"


class Typing:
    """A console on a terminal of so many columns."""

    def __init__(self, descriptor: int, columns: int) -> None:
        self._descriptor = descriptor
        self._screen = Screen(columns)

    @property
    def rows(self) -> list[str]:
        return self._screen.rows

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def shows(self, rows: list[str], cursor: tuple[int, int]) -> bool:
        while rows and not rows[-1]:
            rows = rows[:-1]
        return (self._screen.rows, self._screen.cursor) == (rows, cursor)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            left = deadline - time.monotonic()
            if left < 0 or not select.select([self._descriptor], [], [], left)[0]:
                cursor = repr(self._screen.cursor)
                pytest.fail("\n".join(["it never comes to that:", *self.rows, cursor]))
            self._screen.feed(os.read(self._descriptor, 65536))


@contextmanager
def screen(tmp_path: Path, url: str, columns: int) -> Iterator[Typing]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "fastwsh.client", url],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=clean_environment(
            TERM="xterm", LC_ALL="C.UTF-8", XDG_STATE_HOME=str(tmp_path), INPUTRC=os.devnull
        ),
    )
    os.close(theirs)
    try:
        terminal = Typing(ours, columns)
        terminal.wait_until(lambda: terminal.rows[-1:] == [">"])
        yield terminal
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
        os.close(ours)


def drawn(text: str, columns: int) -> tuple[list[str], tuple[int, int]]:
    """The rows of a text, and row and column of its end."""
    model = Screen(columns)
    model.feed(text.encode())
    row, column = model.cursor
    # Where readline puts the cursor behind a full row.
    return model.rows, (row + column // columns, column % columns)


def left_of(text: str, steps: int) -> str:
    """What is before the cursor so many steps from the end; marks go with their character."""
    while steps and text:
        steps -= cells(text[-1]) > 0
        text = text[:-1]
    return text


@pytest.mark.parametrize("steps", [0, 1, 3, None])
@pytest.mark.parametrize(
    "typed",
    [
        "",
        "typed",
        "x" * 17,
        "x" * 18,
        "x" * 19,
        "x" * 50,
        "日本語",
        "日本語を入力する長い行",
        "x日本語を入力する長い行です",
        "e\u0301te\u0301 no\u0308el",
        "\U0001f600 smile \U0001f600",
        "\U0001f600" * 20,
        "\U0001f469\u200d\U0001f4bb codes \u2764\ufe0f",
        "\u1112\u1161\u11ab",
        "\uff26\uff35\uff2c\uff2c half ﾊﾝｶｸ",
    ],
)
def test_message_comes_above_and_the_cursor_stays(tmp_path: Path, typed: str, steps: int | None):
    columns = 20
    rows, end = drawn("> " + typed, columns)
    with talking() as (url, send), screen(tmp_path, url, columns) as terminal:
        top = len(terminal.rows) - 1
        begin = terminal.rows[:top]
        terminal.type(typed)
        terminal.wait_until(lambda: terminal.shows([*begin, *rows], (top + end[0], end[1])))
        row, column = end
        for step in range(1, 2 if steps is None else steps + 1):
            terminal.type(HOME if steps is None else LEFT)
            before = "" if steps is None else left_of(typed, step)
            _, (row, column) = drawn("> " + before, columns)
            place = (top + row, column)
            terminal.wait_until(lambda place=place: terminal.shows([*begin, *rows], place))
        for number in range(3):
            send(f"{number} 日本")
            begin.append(f"< {number} 日本")
            place = (len(begin) + row, column)
            terminal.wait_until(lambda place=place: terminal.shows([*begin, *rows], place))
        # readline and the terminal agree about what comes next.
        terminal.type("\x05!")
        rows, end = drawn(f"> {typed}!", columns)
        place = (len(begin) + end[0], end[1])
        terminal.wait_until(lambda: terminal.shows([*begin, *rows], place))


def test_what_a_terminal_would_obey_is_redrawn_as_readline_shows_it(tmp_path: Path):
    # Ctrl-V takes the next key as it is.
    with talking() as (url, send), screen(tmp_path, url, 40) as terminal:
        begin = terminal.rows[:-1]
        terminal.type("a\x16\x1b[2J\x16\tb" + LEFT)
        # The tab reaches to column 8, or 16 behind "> a^[[2J".
        rows = ["> a^[[2J        b"]
        terminal.wait_until(lambda: terminal.shows([*begin, *rows], (len(begin), 16)))
        send("hello")
        begin.append("< hello")
        terminal.wait_until(lambda: terminal.shows([*begin, *rows], (len(begin), 16)))


def test_long_messages_above_a_long_line(tmp_path: Path):
    with talking() as (url, send), screen(tmp_path, url, 20) as terminal:
        begin = terminal.rows[:-1]
        rows, end = drawn("> " + "y" * 30, 20)
        terminal.type("y" * 30)
        terminal.wait_until(lambda: terminal.shows([*begin, *rows], (len(begin) + end[0], end[1])))
        send("日" * 19)
        begin += drawn("< " + "日" * 19, 20)[0]
        terminal.wait_until(lambda: terminal.shows([*begin, *rows], (len(begin) + end[0], end[1])))


@contextmanager
def talking() -> Iterator[tuple[str, Callable[[str], None]]]:
    """Run a peer; give its URL, and what sends a message to its client."""
    peers: list[Peer] = []
    opened = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        peers.append(peer)
        opened.set()
        peer.read_to_end()

    def send(text: str) -> None:
        assert opened.wait(DEADLINE_SECONDS)
        peers[0].send_frame(TEXT, text.encode(), mask=None)

    with serving(script) as url:
        yield url, send


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("a", 1),
        ("é", 1),
        ("日", 2),
        ("\uff21", 2),
        ("ﾊ", 1),
        ("\u0301", 0),
        ("\u20dd", 0),
        ("\u200d", 0),
        ("\u202e", 0),
        ("\ufe0f", 0),
        ("\xad", 1),
        ("\u1100", 2),
        ("\u1161", 0),
        ("\u11a8", 0),
        ("\U0001f600", 2),
        ("\U0001f3fb", 2),
        ("\u0e31", 0),
        ("—", 1),
    ],
)
def test_cells(text: str, width: int):
    assert cells(text) == width


@pytest.mark.parametrize(
    ("text", "prompt", "looks"),
    [
        ("a\x01\x1b\x7fb", "> ", "a^A^[^?b"),
        ("\tx", "> ", " " * 6 + "x"),
        ("日\tx", "", "日" + " " * 6 + "x"),
        ("a\udcff", "> ", "a\\377"),
        ("a\x9bb\u2028", "> ", "a?b?"),
        ("grüß", "> ", "grüß"),
    ],
)
def test_how_readline_shows_it(text: str, prompt: str, looks: str):
    assert shown(text, prompt) == looks


def as_shown(text: str) -> bytes:
    """What the kernel makes of it for a terminal."""
    return text.replace("\n", "\r\n").encode()


_TYPED = st.text(
    st.sampled_from("ab \t\x01日語\uff21\u0301\u200d\U0001f600\u1112\u1161é"), max_size=60
)


@given(before=_TYPED, behind=_TYPED, line=_TYPED, columns=st.integers(2, 30))
def test_line_and_cursor_are_where_they_were(before: str, behind: str, line: str, columns: int):
    # A mark at the cursor would belong to what is before it, where readline puts no cursor.
    behind = "x" + behind if behind else ""
    before, behind = shown("> " + before), shown(behind)
    screen = Screen(columns, 100)
    screen.feed(as_shown(above("", before, behind, columns)))
    rows, (row, column) = screen.rows, screen.cursor
    line = f"< {shown(line)}|"
    screen.feed(as_shown(above(line, before, behind, columns)))
    shifted, _ = drawn(line, columns)
    assert [row.rstrip() for row in screen.rows] == ["", *shifted, *rows[1:]]
    assert screen.cursor == (row + len(shifted), column)


@pytest.mark.parametrize("columns", [0, 1])
def test_terminals_that_tell_no_width(columns: int):
    assert "line" in above("line", "> 日本語", "日", columns)
