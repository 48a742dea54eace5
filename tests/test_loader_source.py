"""The text of a handler is compiled as the built-in `compile` does it."""

import pytest

from fastwsh import _core
from fastwsh.loading import loader

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request): pass
"""


@pytest.mark.parametrize(
    "source",
    [
        "",
        "x = 1",
        "'''About \xe9'''\r\nclass A:\r\n\tx: 'A' = None\r\n",
        "async def f(x):\n    return [y async for y in x]\n    \n",
        "from __future__ import annotations\ndef f(x: 1) -> 2: assert x\n",
        "text = '\U0001f600', f'{1!r:>{10}}'",
    ],
)
@pytest.mark.parametrize("name", ["a_wsh.py", "\xe9_wsh.py", "\udcff_wsh.py"])
def test_code_is_that_of_the_built_in_function(source, name):
    expected = compile(source, name, "exec", dont_inherit=True)
    code = _core.compile_source(source, name)
    assert code == expected
    assert (code.co_filename, code.co_flags) == (name, expected.co_flags)


def test_built_in_function_is_left_alone(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it makes the types of all syntax trees")

    monkeypatch.setattr("builtins.compile", refuse)
    assert loader.load_source(f"plain = 1{FUNCTIONS}").namespace["plain"] == 1


@pytest.mark.parametrize(
    "first_lines",
    [
        "# -*- coding: latin-1 -*-\n",
        "#!/usr/bin/python\r\n# coding=latin-1\r\n",
        "\r# coding: latin-1\r",
        "\x0c\n# vim: set fileencoding=latin-1 :\n",
        "# coding: no-such-encoding\n",
        "text = 1  # coding: latin-1\n",
    ],
)
def test_text_is_not_decoded_again_by_what_it_declares(first_lines):
    suite = loader.load_source(f"{first_lines}text = '\xe9'\n{FUNCTIONS}")
    assert suite.namespace["text"] == "\xe9"


def test_byte_order_mark_within_text_is_a_mistake_as_it_is_elsewhere():
    with pytest.raises(loader.LoadError, match="U\\+FEFF"):
        loader.load_source(f"\ufefftext = 1\n{FUNCTIONS}")


@pytest.mark.parametrize("source", ["x = '\udcff'", "# \udcff"])
def test_text_that_utf_8_cannot_encode_is_told(source):
    with pytest.raises(loader.LoadError, match="UnicodeEncodeError"):
        loader.load_source(source + FUNCTIONS)
