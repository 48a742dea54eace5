"""Arguments are taken as Python takes them: by truth, by comparison, and by unpacking.

What pywebsocket does with the same calls was looked up by running it.
"""

import array

import pytest

from conftest import ALL_WAYS, BOTH_WAYS, StartServer, WriteHandler
from fastwsh.pywebsocket import stream
from wire import BINARY, CLOSE, PING, TEXT, Frame

HANDLER = """
import collections, re
class Yes:
    def __bool__(self): return True
class No:
    def __bool__(self): return False
class Odd:
    def __bool__(self): raise KeyError('odd')
class Text(str): pass
class Loud(str):
    def encode(self, *arguments): return b'LOUD'
class Unequal(int):
    def __lt__(self, other): raise KeyError('unequal')
class BadIndex(float):
    def __index__(self): raise KeyError('no index')
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request):
    s = request.ws_stream
    {lines}
def web_socket_passive_closing_handshake(request):
    return {closing}
"""
TRUE = ["1", "'x'", "[0]", "Yes()", "re.search('a', 'a')", "0.5"]
FALSE = ["0", "None", "''", "[]", "No()", "0.0"]


@pytest.fixture
def opened(start_server: StartServer, write_handler: WriteHandler):
    def open_with(lines: str, closing: str = "1000, ''"):
        write_handler("h", HANDLER.format(lines=lines, closing=closing))
        client = start_server("-w", "handlers").connect()
        client.handshake("/h")
        return client

    return open_with


class TestFlags:
    pytestmark = ALL_WAYS

    @pytest.mark.parametrize("value", TRUE)
    def test_what_is_true(self, opened, value: str):
        with opened(
            f"request.ws_stream.send_message(b'a', True, {value}); "
            f"request.ws_stream.send_message(Text('b'), end={value}); "
            f"request.ws_stream.send_ping(b'', {value})"
        ) as client:
            assert client.read_frame() == Frame(BINARY, b"a")
            assert client.read_frame() == Frame(TEXT, b"b")

    @pytest.mark.parametrize("value", FALSE)
    def test_what_is_false(self, opened, value: str):
        with opened(
            f"request.ws_stream.send_message('a', {value}, {value if value != 'None' else 0})"
        ) as client:
            assert client.read_frame() == Frame(TEXT, b"a", fin=False)

    def test_no_answer_is_waited_for(self, opened):
        with opened(
            "request.ws_stream.close_connection(4000, 'r', 0)\n    print('over', flush=True)"
        ) as client:
            assert client.read_frame() == Frame(CLOSE, b"\x0f\xa0r")
            client.read_to_end()


class TestOwnMethods:
    pytestmark = ALL_WAYS

    def test_text_with_an_encoding_of_its_own(self, opened):
        with opened(
            "request.ws_stream.send_message(Loud('x')); "
            "request.ws_stream.close_connection(4000, Loud('x'), 0)"
        ) as client:
            assert client.read_frame() == Frame(TEXT, b"LOUD")
            assert client.read_frame() == Frame(CLOSE, b"\x0f\xa0LOUD")

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            ("float('nan')", "error"),
            ("4000.5", "error"),
            ("BadIndex(4000)", "KeyError"),
            ("Unequal(4000)", "KeyError"),
            ("float('inf')", "BadOperationException"),
            ("'4000'", "TypeError"),
        ],
    )
    def test_exceptions_of_a_close_code_come_through(self, opened, code: str, error: str):
        with opened(
            "\n    try:\n"
            f"        request.ws_stream.close_connection({code}, 'r', 0)\n"
            "    except Exception as error:\n"
            "        request.ws_stream.send_message(type(error).__name__)"
        ) as client:
            assert client.read_frame() == Frame(TEXT, error.encode())
            assert client.read_frame().close_code == 1000


class TestCodes:
    pytestmark = BOTH_WAYS

    @pytest.mark.parametrize("code", ["10**30", "2**63", "-10**30", "5000", "999"])
    def test_numbers_out_of_range_are_a_1011(self, opened, code: str):
        with opened(f"s.close_connection({code})") as client:
            assert client.read_frame().close_code == 1011

    @pytest.mark.parametrize(
        "closing",
        [
            "[4000, 'r']",
            "(x for x in (4000, 'r'))",
            "iter([4000, 'r'])",
            "collections.deque([4000, 'r'])",
            "{4000: 1, 'r': 2}",
            "map(lambda x: x, (4000, Text('r')))",
        ],
    )
    def test_a_hook_may_return_whatever_gives_two_values(self, opened, closing: str):
        with opened("s.receive_message()", closing) as client:
            client.send_close(1000)
            assert client.read_frame() == Frame(CLOSE, b"\x0f\xa0r")

    @pytest.mark.parametrize("closing", ["10**30, 'r'", "b'ab'", "2**63, 'r'"])
    def test_codes_of_a_hook_out_of_range_are_a_1011(self, opened, closing: str):
        with opened("s.receive_message()", closing) as client:
            client.send_close(1000)
            assert client.read_frame().close_code == 1011

    @pytest.mark.parametrize("closing", ["1000", "(1000,)", "(1000, 'r', 1)", "None"])
    def test_other_answers_of_a_hook_are_its_mistake(self, opened, closing: str):
        with opened("s.receive_message()", closing) as client:
            client.send_close(1000)
            assert client.read_to_end() == b""


@pytest.mark.parametrize("value", [10**30, 2**63, -1, 16, -(10**40)])
def test_header_fields_out_of_range(value):
    with pytest.raises(ValueError, match="Opcode"):
        stream.create_header(value, 0, 1, 0, 0, 0, mask=0)
    with pytest.raises(ValueError):
        stream.create_header(1, 0, value, 0, 0, 0, mask=0)


@pytest.mark.parametrize("length", [2**63, 10**40, -1])
def test_lengths_out_of_range(length):
    with pytest.raises(ValueError):
        stream.create_header(1, length, 1, 0, 0, 0, mask=0)
    with pytest.raises(ValueError):
        stream.create_length_header(length, 0)


def test_masks_count_by_truth():
    for mask in (1, "x", array.array("b", [0])):
        assert stream.create_length_header(5, mask) == b"\x85"
    assert stream.create_length_header(5, "") == b"\x05"


class Index:
    def __index__(self):
        return 4000


def test_an_index_is_no_close_code():
    with pytest.raises(TypeError):
        stream.create_closing_handshake_body(Index(), "")


@BOTH_WAYS
@pytest.mark.parametrize("status", ["101", "700", "True", "'401'", "401.5", "-1", "10**30"])
def test_a_status_that_is_no_refusal_is_a_403(
    start_server: StartServer, write_handler: WriteHandler, status: str
):
    raising = f"raise handshake.HandshakeException('no', status={status})"
    write_handler(
        "h",
        "from pywebsocket3 import handshake\n"
        f"def web_socket_do_extra_handshake(request): {raising}\n"
        "def web_socket_transfer_data(request): pass\n",
    )
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.send_request("/h")
        assert client.read_response().status == 403
    server.log.wait_for("has a status that cannot be sent")


class TestArrays:
    """Bodies whose items are no bytes: the length of a frame is that of the memory."""

    pytestmark = ALL_WAYS

    @pytest.mark.parametrize(
        "body",
        [
            "array.array('i', [1, 2])",
            "memoryview(array.array('i', [1, 2]))",
            "memoryview(array.array('i', [1, 9, 2, 9]))[::2]",
            "(ctypes.c_int * 2)(1, 2)",
            "memoryview(b'\\1\\0\\0\\0\\2\\0\\0\\0').cast('B', (2, 4))",
        ],
    )
    def test_whose_items_are_larger(self, opened, body: str):
        with opened(
            f"import array, ctypes; body = {body}\n"
            "    request.ws_stream.send_message(body, True, True); "
            "request.ws_stream.send_ping(body, True)"
        ) as client:
            assert client.read_frame() == Frame(BINARY, b"\1\0\0\0\2\0\0\0")
            assert client.read_frame() == Frame(PING, b"\1\0\0\0\2\0\0\0")
            assert client.read_frame().close_code == 1000

    @pytest.mark.parametrize("call", ["send_ping(body, True)", "send_message(body, True, True)"])
    def test_of_addresses_are_refused(self, opened, call: str):
        with opened(
            "import ctypes; body = (ctypes.py_object * 1)(None)\n    try:\n"
            f"        request.ws_stream.{call}\n"
            "    except TypeError as error:\n"
            "        request.ws_stream.send_message(str(error))"
        ) as client:
            assert b"a bytes-like object is required" in client.read_frame().payload

    def test_that_are_too_long(self, opened):
        with opened(
            "import array; body = array.array('i', range(40))\n    try:\n"
            "        request.ws_stream.send_ping(body, True)\n"
            "    except Exception as error:\n"
            "        request.ws_stream.send_message(str(error))"
        ) as client:
            assert b"125 bytes or less" in client.read_frame().payload


@ALL_WAYS
def test_whether_a_message_ends_is_asked_while_its_frame_is_built(opened):
    with opened(
        "\n    class Odd:\n        def __bool__(self): raise ValueError('ambiguous')\n    try:\n"
        "        request.ws_stream.send_message('x', Odd())\n"
        "    except Exception as error:\n"
        "        request.ws_stream.send_message(f'{type(error).__name__}: {error}')"
    ) as client:
        assert client.read_frame() == Frame(TEXT, b"BadOperationException: ambiguous")
