"""Handlers in Python 2 syntax mean what they meant there, where that can be seen when they load."""

import pytest

from fastwsh.loading import loader

pytest.importorskip("fissix")

OLD = """
def web_socket_do_extra_handshake(request):
    print "old"
def web_socket_transfer_data(request): pass
"""
TODAY = OLD.replace('print "old"', "pass")


def result(source, functions=OLD):
    return loader.load_source(source + functions).namespace["result"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7 / 2, -7 / 2, 7 / 2.0, 7.0 / 2", (3, -4, 3.5, 3.5)),
        ("True / 2, 10 / 3 / 2", (0, 1)),
        ("[n / 2 for n in (1, 2, 3)]", [0, 1, 1]),
        ("round(2.5), round(-2.5), round(0.5), round(1.25, 1), round(7)", (3, -3, 1, 1.3, 7)),
        ("type(round(2.5)) is float", True),
        ("sorted([3, 1, 2], lambda x, y: cmp(y, x))", [3, 2, 1]),
        ("sorted([3, 1, 2]), sorted([3, 1], reverse=True)", ([1, 2, 3], [3, 1])),
        ("sorted(['b', 'A'], cmp, str.lower)", ["A", "b"]),
        ("sorted(['b', 'A'], cmp=cmp, key=str.lower, reverse=1)", ["b", "A"]),
        (
            "unicode('abc', 'utf-8'), unicode(b'abc', 'utf-8', 'strict'), unicode(5)",
            ("abc",) * 2 + ("5",),
        ),
    ],
)
def test_an_expression_has_its_old_value(expression, value):
    found = result(f"result = {expression}\n")
    assert found == value


def test_division_in_place():
    source = "x = 7\nx /= 2\nclass C: n = 9\nC.n /= 2\nd = {'k': 5}\nd['k'] /= 2\n"
    assert result(f"{source}result = x, C.n, d['k']\n") == (3, 4, 2)


def test_lists_are_sorted_in_place():
    source = "result = [3, 1, 2]\nresult.sort(lambda x, y: cmp(y, x))\n"
    assert result(source) == [3, 2, 1]
    assert result("result = [3, 1, 2]\nresult.sort()\n") == [1, 2, 3]


def test_headers_have_their_old_method():
    source = "class R: headers_in = {'a': 'b'}\nresult = R.headers_in.getheader('a', 'c')\n"
    assert result(source) == "b"


def test_a_class_has_its_metaclass():
    source = (
        "class Kind(type):\n    known = 1\n"
        "class A(object):\n    x = 2\n    __metaclass__ = Kind\n    y = 3\n"
        "class B:\n    __metaclass__ = Kind\n"
    )
    assert result(f"{source}result = A.known, A.x, A.y, B.known\n") == (1, 2, 3, 1)


def test_who_wants_todays_division_gets_it():
    assert result("from __future__ import division\nresult = 7 / 2\n") == 3.5


def test_names_of_its_own_are_left_alone():
    assert result("def round(x): return 'mine'\nresult = round(2.5)\n") == "mine"


def test_a_handler_of_today_is_taken_at_its_word():
    assert result("result = 7 / 2, round(2.5)\n", TODAY) == (3.5, 2)
