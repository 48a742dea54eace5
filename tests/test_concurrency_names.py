"""Built-in names and attributes that make a handler need a thread of its own."""

import pytest

from concurrency_support import why


@pytest.mark.parametrize(
    "name",
    [
        *(
            "open",
            "input",
            "raw_input",
            "exec",
            "eval",
            "execfile",
            "compile",
            "__import__",
            "file",
        ),
        *("breakpoint", "globals", "locals", "reload", "help", "__builtins__", "__loader__"),
    ],
)
def test_built_in_name_that_blocks_or_hides_what_it_does_needs_a_thread(name):
    assert why(f"{name}('x')") == f"it uses {name} (line 4)"
    assert why(f"x = [{name}]") == f"it uses {name} (line 4)"


@pytest.mark.parametrize(
    ("before", "body"),
    [
        ("", "def g(input, *file, **open): return input, file, open"),
        ("", "input = request.ws_stream.receive_message()\nrequest.input = input"),
        ("", "[open for open in (1, 2)]"),
        ("def open(request): pass", "open(request)"),
        ("file = None", "file"),
    ],
)
def test_variable_with_such_a_name_is_accepted(before, body):
    assert why(body, before) is None


@pytest.mark.parametrize(
    ("before", "body"),
    [
        ("if 0:\n    open = None", "open('x')"),
        ("open = None\ndel open", "open('x')"),
        ("f = open\ndef open(x): pass", "f('x')"),
        ("class A:\n    open = None\n    f = open('x')", "pass"),
        ("", "class A:\n    def open(self): return open('x')"),
        ("", "def g():\n    global open\n    open = None\nopen('x')"),
    ],
)
def test_name_that_may_still_be_built_in_needs_a_thread(before, body):
    assert why(body, before).startswith("it uses open (line ")


@pytest.mark.parametrize(
    "expression",
    [
        "type(request).__name__, request.__class__.__name__, request.__doc__",
        "getattr(request, 'ws_protocol', None), hasattr(request, 'ws_stream')",
        "setattr(request, 'name', 1), delattr(request, 'name')",
        "getattr(request, request.name), vars(request)",
        "request.connection.remote_addr, request.ws_stream._options, exit, quit",
    ],
)
def test_ordinary_attribute_is_accepted(expression):
    assert why(expression) is None


def test_dunder_method_may_be_defined():
    assert why("class A:\n    def __getattribute__(self, name): return super().__init__()") is None


@pytest.mark.parametrize(
    ("expression", "attribute"),
    [
        ("web_socket_transfer_data.__globals__['x']", "__globals__"),
        ("request.__class__.__subclasses__()", "__subclasses__"),
        ("request.__dict__", "__dict__"),
        ("print.__self__", "__self__"),
        ("request.error.tb_frame.f_back", "f_back"),
        ("request._request_handler.rfile", "_request_handler"),
        ("request.connection.server", "server"),
        ("getattr(request, '_request_handler')", "_request_handler"),
        ("hasattr(request, '__dict__')", "__dict__"),
    ],
)
def test_attribute_that_leads_past_the_check_needs_a_thread(expression, attribute):
    assert why(expression) == f"it uses {attribute} (line 4)"


@pytest.mark.parametrize("expression", ["map(getattr, x)", "getattr(*x)", "vars()", "f = setattr"])
def test_access_that_does_not_say_to_what_needs_a_thread(expression):
    assert why(expression).startswith("it uses ")
