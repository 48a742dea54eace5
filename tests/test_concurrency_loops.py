"""A loop that may wait for another handler must wait inside fastwsh, or come to an end."""

import pytest

from concurrency_support import why

STALLS = "it loops without waiting (line 4)"


@pytest.mark.parametrize(
    "body",
    [
        "while True:\n    m = request.ws_stream.receive_message()\n    if m is None: return",
        "while request.ws_stream.receive_message() is not None: pass",
        "while not request.client_terminated:\n    msgutil.receive_message(request)",
        "while request.open and request.ws_stream.receive_message(): pass",
        "while True: request.connection.write(b'x')",
        "while True:\n    if request.x: request.connection.read(1)\n    else: return",
        "while True:\n    with request.x: request.ws_stream.send_message('x')",
        "while True:\n    for i in range(3): request.ws_stream.send_ping(b'')",
        "while True:\n    while True:\n        request.connection.read(1)\n        break",
        "while True:\n    try: request.ws_stream.receive_message()\n    finally: request.x = 1",
        "while True:\n    try: int(request.connection.read(1))\n    except ValueError: continue",
        "while True:\n    try: f(request.connection.read(1))\n    except json.JSONDecodeError: 1",
        "while True:\n    try: request.f.read(1)\n    except UnsupportedFrameException: 1",
        "while True:\n    try: request.ws_stream.receive_message()\n    except Exception: break",
        "for i in itertools.count(): request.ws_stream.send_message(str(i))",
        "for m in iter(request.ws_stream.receive_message, None): pass",
        "for x in request.xs: pass",
    ],
)
def test_loop_that_waits_each_time_is_accepted(body):
    assert why(body, "import itertools, json; from pywebsocket3 import msgutil") is None


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "while not peers: pass",
        "while not peers: request.x = 1",
        "while not peers.get(1): continue",
        "while True:\n    if peers: break",
        "while True:\n    try: f(); request.connection.read(1)\n    except KeyError: pass",
        "while True:\n    if peers: request.ws_stream.send_message(peers.pop())",
        "while True:\n    for m in peers: request.ws_stream.send_message(m)",
        "while True:\n    if not peers: continue\n    request.ws_stream.send_message('x')",
        "while peers or request.ws_stream.receive_message(): pass",
        "while True:\n    peers and request.ws_stream.receive_message()",
        "while True: [request.ws_stream.send_message(m) for m in peers]",
        "while True: lambda: request.ws_stream.receive_message()",
        "while not peers: sys.stdout.write('.')",
        "for i in itertools.count():\n    if peers: break",
        "for i in itertools.repeat(None): pass",
        "for i in iter(peers.copy, None): pass",
        "while time.time() < request.deadline: pass",
    ],
)
def test_loop_that_may_wait_for_another_handler_needs_a_thread(body):
    assert why(body, "import itertools, sys, time; peers = {}") == STALLS


@pytest.mark.parametrize(
    "caught", ["", " Exception", " msgutil.BadOperationException", " (ValueError, OSError)"]
)
def test_loop_that_goes_on_when_the_connection_has_ended_needs_a_thread(caught):
    body = (
        f"while True:\n    try: request.ws_stream.receive_message()\n    except{caught}: {{then}}"
    )
    before = "from pywebsocket3 import msgutil"
    assert why(body.format(then="pass"), before) == STALLS
    assert why(body.format(then="return"), before) is None
    assert why(body.format(then="request.ws_stream.send_message('x')"), before) is None


def test_loop_that_suppresses_the_end_of_the_connection_needs_a_thread():
    body = (
        "while True:\n    with contextlib.suppress(Exception): request.ws_stream.receive_message()"
    )
    assert why(body, "import contextlib") == STALLS


@pytest.mark.parametrize(
    ("test", "value", "stalls"),
    [
        ("running", "False", False),
        ("running", "True", True),
        ("not done", "True", False),
        ("not done and request.x", "True", False),
    ],
)
def test_variable_that_ends_the_loop_counts_as_leaving_it(test, value, stalls):
    name = test.removeprefix("not ").partition(" ")[0]
    body = (
        f"while {test}:\n    try: request.ws_stream.receive_message()\n"
        f"    except Exception: {name} = {value}"
    )
    assert why(body) == (STALLS if stalls else None)


@pytest.mark.parametrize(
    "body",
    [
        "while n < 5: n += 1",
        "while n: n, digit = divmod(n, 10)",
        "while n and not peers: n = n - 1",
        "while node.next: node = node.next",
        "while self.position < 5: self.position += 1",
        "while items: items.pop()",
        "while items.pop(): pass",
        "while items: del items[0]",
        "while len(items) < 5: items.append(1)",
        "while not (n > 5 or peers): n += 1",
        "while True:\n    n += 1\n    if n > 5: break",
        "while n < 5:\n    if peers: n += 1\n    else: n += 2",
        "while n < 5:\n    if peers: n += 1\n    else: request.connection.read(1)",
        "while True:\n    n = s.find('x', n)\n    if n < 0: break\n    s = s[n + 1:]",
        "while True:\n    m = pattern.match(s, n)\n    if not m: break\n    n = m.end()",
        "while next(items): pass",
        "while (c := s[n]) != 'x': n += 1",
        "while True:\n    try: x = next(items)\n    except StopIteration: break",
        "while True: return",
        "for i in itertools.count():\n    if i > 5: break",
    ],
)
def test_loop_that_comes_to_an_end_is_accepted(body):
    assert why(body, "import itertools; peers = {}") is None


@pytest.mark.parametrize(
    "body",
    [
        "while n < 5 or not peers: n += 1",
        "while not (n > 5 and peers): n += 1",
        "while not ready: ready = peers.get(1)",
        "while not ready:\n    n += 1\n    ready = False",
        "while True:\n    n += 1\n    if n > 5 and peers: break",
        "while True:\n    n += 1\n    if n > 5:\n        if peers: break",
        "while True:\n    n += 1\n    if n > 5: pass\n    elif peers: break",
        "while True:\n    n += 1\n    def f():\n        if n > 5: return",
        "while n < 5:\n    if peers: n += 1",
        "while n < 5:\n    if not peers: continue\n    n += 1",
        "while n < 5:\n    for peer in peers: n += 1",
        "while n < 5: peers and items.append(n)",
        "while n < 5:\n    try:\n        peers[1]\n        n += 1\n    except KeyError: pass",
        "while len(items) < 3:\n    if peers: items.append(peers.pop())",
        "while items or not peers:\n    if items: request.ws_stream.send_message(items.pop())",
        "while True:\n    try: peers[1]\n    except KeyError: break",
    ],
)
def test_loop_that_comes_to_an_end_only_with_another_handlers_help_needs_a_thread(body):
    assert why(body, "peers = {}") == STALLS


@pytest.mark.parametrize(
    ("function", "stalls"),
    [
        ("def step(r): return r.ws_stream.receive_message()", False),
        ("def step(r):\n    while True:\n        r.connection.read(1)\n        return", False),
        ("def step(r): return other(r)\ndef other(r): r.connection.write(b'x')", False),
        ("def step(r):\n    if r.x: raise ValueError\n    r.ws_stream.receive_message()", False),
        ("step = request.ws_stream.receive_message", False),
        ("def step(r): pass", True),
        ("def step(r): return step(r)", True),
        ("def step(r):\n    if r.x: return\n    r.ws_stream.receive_message()", True),
        ("def step(r):\n    while r.x:\n        return\n    r.ws_stream.receive_message()", True),
        ("def step(r): yield r.ws_stream.receive_message()", True),
        ("def step(r): r.connection.read(1)\ndef step(r): pass", True),
        ("step = request.ws_stream.receive_message\nstep = len", True),
    ],
)
def test_function_of_the_handler_waits_if_every_way_through_it_does(function, stalls):
    reason = why("while True: step(request)", f"def request(): pass\n{function}")
    assert bool(reason) is stalls


def test_function_of_the_handler_is_not_taken_for_fastwshs():
    body = "while True: receive_message(request)"
    assert why(body) is None
    assert why(body, "def receive_message(request): return request.message") == STALLS


def test_inner_loop_is_judged_like_an_outer_one():
    body = "if request.x:\n    for x in request.xs:\n        while not x.ready: pass"
    assert why(body) == "it loops without waiting (line 6)"
