"""The modules that a handler may use without ever blocking a shared thread.

A module is on the list because nothing in it waits, or only certain names of it do not. A name that
a module has imported does not belong to it: the rules of the module that it comes from apply.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final, NamedTuple

__all__ = [
    "Reached",
    "follow",
    "is_harmless",
    "is_pywebsocket",
    "public_names",
    "real_name",
    "shown_name",
]

_PYWEBSOCKET: Final = "fastwsh.pywebsocket"
_PYWEBSOCKET_NAMES: Final = frozenset({"mod_pywebsocket", "pywebsocket3"})

# Modules that have another name here.
_ALIASES: Final[Mapping[str, str]] = {
    "Cookie": "http.cookies",
    "HTMLParser": "html.parser",
    "htmlentitydefs": "html.entities",
    "repr": "reprlib",
    "six.moves.collections_abc": "collections.abc",
    "six.moves.html_entities": "html.entities",
    "six.moves.html_parser": "html.parser",
    "six.moves.http_cookies": "http.cookies",
    "six.moves.urllib.parse": "urllib.parse",
    "six.moves.urllib_parse": "urllib.parse",
    "urlparse": "urllib.parse",
}

# The modules in which nothing waits.
_HARMLESS: Final = """
    __future__ abc array base64 binascii bisect calendar cmath collections collections.abc colorsys
    contextlib contextvars copy dataclasses datetime decimal difflib enum errno fnmatch fractions
    functools hashlib heapq hmac html html.entities html.parser http http.cookies ipaddress
    itertools json json.decoder json.encoder keyword math numbers operator pprint random re reprlib
    secrets statistics string struct textwrap traceback types typing unicodedata urllib.parse
    warnings weakref zlib
"""
_HARMLESS_OF_PYWEBSOCKET: Final = """
    _stream_base common extensions handshake handshake._base handshake.base handshake.hybi
    http_header_util memorizingfile msgutil stream util
"""
_EXCEPT: Final[Mapping[str, frozenset[str]]] = {
    # This function evaluates annotations that are strings.
    "typing": frozenset({"get_type_hints"}),
    f"{_PYWEBSOCKET}.msgutil": frozenset({"MessageReceiver", "MessageSender"}),
    f"{_PYWEBSOCKET}.util": frozenset({"get_script_interp"}),
}

# Of these modules, only these names, and submodules that are on a list themselves.
_PARTLY_HARMLESS: Final[Mapping[str, str]] = {
    "StringIO": "BytesIO StringIO",
    "ast": "literal_eval",
    "cStringIO": "BytesIO StringIO",
    "cgi": "escape parse_qs parse_qsl",
    "codecs": """
        BOM BOM_BE BOM_LE BOM_UTF16 BOM_UTF16_BE BOM_UTF16_LE BOM_UTF32 BOM_UTF32_BE BOM_UTF32_LE
        BOM_UTF8 decode encode getdecoder getencoder getincrementaldecoder getincrementalencoder
        getreader getwriter iterdecode iterencode lookup utf_8_decode utf_8_encode
    """,
    # make_msgid() asks the network for the host's name.
    "email": "",
    "email.utils": """
        format_datetime formataddr formatdate parseaddr parsedate parsedate_to_datetime
    """,
    # Not the client, nor the server.
    "fastwsh": "",
    "fastwsh.topics": "publish subscribe subscribers unsubscribe",
    _PYWEBSOCKET: "",
    "io": "BytesIO SEEK_CUR SEEK_END SEEK_SET StringIO UnsupportedOperation",
    "logging": """
        CRITICAL DEBUG ERROR FATAL Formatter INFO Logger LoggerAdapter NOTSET NullHandler
        StreamHandler WARN WARNING addLevelName basicConfig critical debug disable error exception
        fatal getLevelName getLogger info log warn warning
    """,
    "md5": "md5 new",
    "os": """
        curdir environ error fsdecode fsencode fspath getenv getpid linesep name pathsep sep urandom
    """,
    "os.path": """
        altsep basename commonpath commonprefix curdir dirname extsep isabs join normcase normpath
        pardir pathsep sep split splitdrive splitext
    """,
    "sets": "ImmutableSet Set",
    "sha": "new sha",
    "shlex": "join quote split",
    "six": """
        BytesIO Iterator MAXSIZE PY2 PY3 StringIO add_metaclass advance_iterator b binary_type
        byte2int callable class_types ensure_binary ensure_str ensure_text indexbytes int2byte
        integer_types iterbytes iteritems iterkeys iterlists itervalues next print_
        python_2_unicode_compatible raise_from reraise string_types text_type u unichr viewitems
        viewkeys viewvalues with_metaclass wraps
    """,
    "six.moves": """
        StringIO UserDict UserList UserString cStringIO filter filterfalse intern map range reduce
        shlex_quote xrange zip zip_longest
    """,
    "six.moves.urllib": "",
    "sys": """
        argv byteorder exc_clear exc_info exception executable exit flags float_info
        getdefaultencoding getrefcount getsizeof hexversion implementation int_info intern maxint
        maxsize maxunicode path platform setdefaultencoding stderr stdout version version_info
    """,
    "time": """
        altzone asctime clock ctime daylight get_clock_info gmtime localtime mktime monotonic
        monotonic_ns perf_counter perf_counter_ns process_time process_time_ns strftime strptime
        struct_time thread_time thread_time_ns time time_ns timezone tzname
    """,
    "urllib": "quote quote_plus unquote unquote_plus urlencode",
    # uuid1() starts programs to find the network card's address.
    "uuid": "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 UUID uuid3 uuid4 uuid5",
}

# By module: the names that do not block, or None for all of its names.
_MODULES: Final[Mapping[str, frozenset[str] | None]] = {
    **dict.fromkeys(_HARMLESS.split()),
    **{f"{_PYWEBSOCKET}.{name}": None for name in _HARMLESS_OF_PYWEBSOCKET.split()},
    **{module: frozenset(names.split()) for module, names in _PARTLY_HARMLESS.items()},
}

_STANDARD_LIBRARY: Final = os.path.join(os.path.dirname(os.__file__), "")  # noqa: PTH118, PTH120


class Reached(NamedTuple):
    """The end of a chain of attributes that starts at a module.

    Attributes:
        module: The module that it ends at, or None if it ends at something else.
        forbidden: The name that is not on the list, for people, or None.
    """

    module: str | None = None
    forbidden: str | None = None


def real_name(module: str) -> str:
    """Return the name that this file uses for a module that a handler imports."""
    root, dot, rest = module.partition(".")
    if root in _PYWEBSOCKET_NAMES:
        module = f"{_PYWEBSOCKET}{dot}{rest}"
    return _ALIASES.get(module, module)


def shown_name(module: str) -> str:
    """Return the usual name of a module."""
    return module.replace(_PYWEBSOCKET, "pywebsocket3", 1)


def is_pywebsocket(module: str) -> bool:
    """Tell whether a module is one of pywebsocket's, by its real name."""
    return module.split(".")[:2] == _PYWEBSOCKET.split(".")


def is_harmless(module: str) -> bool:
    """Tell whether a handler may import a module under this name."""
    root = module.partition(".")[0]
    return real_name(module) in _MODULES and (root in _PYWEBSOCKET_NAMES or _is_genuine(root))


def public_names(module: str) -> Sequence[str]:
    """Return what `from module import *` binds, for one of pywebsocket's modules."""
    names: Sequence[str] = _members(module).get("__all__", ())
    return names


def follow(module: str, attributes: Sequence[str]) -> Reached:
    """Follow a chain of attributes.

    Args:
        module: The real name of the module that it starts at, which must be harmless.
        attributes: The chain. Attributes after something that is not a module are ignored.
    """
    for attribute in attributes:
        within = real_name(f"{module}.{attribute}")
        if within in _MODULES:
            module = within
            continue
        names = _MODULES[module]
        if names is None:
            member = _members(module).get(attribute)
            if isinstance(member, ModuleType):
                module = member.__name__
                if module not in _MODULES:
                    return Reached(forbidden=shown_name(module))
                continue
        if attribute in names if names is not None else _gives(module, attribute):
            return Reached()
        return Reached(forbidden=f"{shown_name(module)}.{attribute}")
    return Reached(module)


def _members(module: str) -> dict[str, Any]:
    """Return the names in a module; none if it is missing, as importing it raises."""
    try:
        return vars(importlib.import_module(module))
    except ImportError:
        return {}


def _gives(module: str, attribute: str) -> bool:
    """Tell whether a name that is not a module belongs to this module, and was not imported."""
    members = _members(module)
    if attribute in _EXCEPT.get(module, ()):
        return False
    if attribute not in members:
        # Reading the attribute raises, unless it is a module that is not loaded yet.
        return "__path__" not in members or not importlib.util.find_spec(f"{module}.{attribute}")
    if attribute.startswith("_"):
        return is_pywebsocket(module)
    return attribute in members.get("__all__", members)


def _is_genuine(root: str) -> bool:
    """Tell whether a name leads to the real module, and not to another file of that name."""
    if root in {"fastwsh", "six"} or root in sys.builtin_module_names:
        return True
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return False
    if root not in sys.stdlib_module_names:
        return spec is None
    if spec is None or spec.origin is None:
        return False
    return spec.origin in ("built-in", "frozen") or spec.origin.startswith(_STANDARD_LIBRARY)
