"""Modules that Python 2 had under other names, and functions that its modules have lost.

The tables say where Python 3 has a thing; nothing is imported before a handler asks for it.
"""

from __future__ import annotations

import importlib
import threading
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

__all__ = ["ADDITIONS", "SUBSTITUTES", "extended", "real_module", "substitute"]


class _At:
    """Where to find a thing: a module and a name in it; without a name, the module itself."""

    def __init__(self, module: str, name: str = "") -> None:
        self.module = module
        self.name = name

    def resolve(self) -> Any:
        module = importlib.import_module(self.module)
        return getattr(module, self.name) if self.name else module


def _do_nothing(*_: object) -> None:
    """Replace a function that has nothing to do any more."""


def _escape(s: str, quote: object = None) -> str:
    """Replace `&`, `<` and `>` and, if `quote` is true, the double quote."""
    import html  # noqa: PLC0415 (few handlers need it)

    escaped = html.escape(s, quote=False)
    return escaped.replace('"', "&quot;") if quote else escaped


def _join(words: Any, sep: str = " ") -> str:
    """Join the words, with `sep` between them."""
    return sep.join(words)


# Several new modules may replace an old one; a name that two of them have comes from the first.
_RENAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "BaseHTTPServer": ("http.server",),
    "CGIHTTPServer": ("http.server",),
    "ConfigParser": ("configparser",),
    "Cookie": ("http.cookies",),
    "DocXMLRPCServer": ("xmlrpc.server",),
    "HTMLParser": ("html.parser",),
    "Queue": ("queue",),
    "SimpleHTTPServer": ("http.server",),
    "SimpleXMLRPCServer": ("xmlrpc.server",),
    "SocketServer": ("socketserver",),
    "StringIO": ("io",),
    "UserDict": ("collections",),
    "UserList": ("collections",),
    "UserString": ("collections",),
    "__builtin__": ("builtins", "fastwsh.py2.old_builtins"),
    "anydbm": ("dbm",),
    "cPickle": ("pickle",),
    "cStringIO": ("io",),
    "cgi": (),
    "commands": ("subprocess",),
    "cookielib": ("http.cookiejar",),
    "copy_reg": ("copyreg",),
    "exceptions": ("builtins", "fastwsh.py2.old_builtins"),
    "future_builtins": ("builtins",),
    "htmlentitydefs": ("html.entities",),
    "httplib": ("http.client",),
    "md5": (),
    "repr": ("reprlib",),
    "robotparser": ("urllib.robotparser",),
    "sets": (),
    "sha": (),
    "thread": ("_thread",),
    "urllib2": ("urllib.request", "urllib.error", "urllib.parse"),
    "urlparse": ("urllib.parse",),
    "whichdb": ("dbm",),
    "xmlrpclib": ("xmlrpc.client",),
}

SUBSTITUTES: Final = frozenset(_RENAMED)
"""Names that a handler may import although Python 3 has no such module."""

_ABSTRACT_CLASSES: Final = (
    *("Callable", "Container", "Hashable", "ItemsView", "Iterable", "Iterator", "KeysView"),
    *("Mapping", "MappingView", "MutableMapping", "MutableSequence", "MutableSet", "Sequence"),
    *("Set", "Sized", "ValuesView"),
)
_STR_METHODS: Final = (
    *("capitalize", "center", "count", "expandtabs", "find", "index", "ljust", "lower", "lstrip"),
    *("maketrans", "replace", "rfind", "rindex", "rjust", "rstrip", "split", "strip", "swapcase"),
    *("translate", "upper", "zfill"),
)

# By module: what it had in Python 2 or in early versions of Python 3, and has lost.
ADDITIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "base64": {
        "decodestring": _At("base64", "decodebytes"),
        "encodestring": _At("base64", "encodebytes"),
    },
    "cgi": {
        "escape": _escape,
        "parse_qs": _At("urllib.parse", "parse_qs"),
        "parse_qsl": _At("urllib.parse", "parse_qsl"),
    },
    "collections": {name: _At("collections.abc", name) for name in _ABSTRACT_CLASSES},
    "itertools": {
        "ifilter": filter,
        "ifilterfalse": _At("itertools", "filterfalse"),
        "imap": map,
        "izip": zip,
        "izip_longest": _At("itertools", "zip_longest"),
    },
    "md5": {"md5": _At("hashlib", "md5"), "new": _At("hashlib", "md5")},
    "os": {"errno": _At("errno"), "getcwdu": _At("os", "getcwd")},
    "sets": {"ImmutableSet": frozenset, "Set": set},
    "sha": {"new": _At("hashlib", "sha1"), "sha": _At("hashlib", "sha1")},
    "string": {
        "atof": float,
        "atoi": int,
        "atol": int,
        "join": _join,
        "letters": _At("string", "ascii_letters"),
        "lowercase": _At("string", "ascii_lowercase"),
        "uppercase": _At("string", "ascii_uppercase"),
        **{name: getattr(str, name) for name in _STR_METHODS},
    },
    # With setdefaultencoding("utf-8") text became UTF-8, which it is now.
    "sys": {
        "exc_clear": _do_nothing,
        "maxint": _At("sys", "maxsize"),
        "setdefaultencoding": _do_nothing,
    },
    "time": {"clock": _At("time", "process_time")},
    "types": {
        "BooleanType": bool,
        "ClassType": type,
        "DictType": dict,
        "DictionaryType": dict,
        "FloatType": float,
        "IntType": int,
        "ListType": list,
        "LongType": int,
        "ObjectType": object,
        "StringType": str,
        "StringTypes": (str,),
        "TupleType": tuple,
        "TypeType": type,
        "UnicodeType": str,
    },
    "urllib": {
        **{
            name: _At("urllib.parse", name)
            for name in ("quote", "quote_plus", "unquote", "unquote_plus", "urlencode")
        },
        **{
            name: _At("urllib.request", name)
            for name in ("pathname2url", "url2pathname", "urlcleanup", "urlopen", "urlretrieve")
        },
    },
}

_LOCK: Final = threading.RLock()
# By the name that a handler imports. Guarded by _LOCK.
_made: dict[str, ModuleType] = {}


class _Extended(ModuleType):
    """A proxy for modules of Python 3, with the names that they have lost.

    Attributes are set in the first module, so that `sys.stdout = …` works.
    """

    def __init__(self, name: str, real: tuple[ModuleType, ...]) -> None:
        super().__init__(name)
        vars(self).update(_real=real, _additions=ADDITIONS.get(name, {}))

    def __getattr__(self, name: str) -> Any:
        real, additions = vars(self)["_real"], vars(self)["_additions"]
        if name == "__all__":
            return sorted({*additions, *(public for module in real for public in _public(module))})
        for module in real:
            if hasattr(module, name):
                return getattr(module, name)
        if name not in additions:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        addition = additions[name]
        return addition.resolve() if isinstance(addition, _At) else addition

    def __setattr__(self, name: str, value: Any) -> None:
        real = vars(self)["_real"]
        if real:
            setattr(real[0], name, value)
        else:
            super().__setattr__(name, value)


def substitute(name: str) -> ModuleType:
    """Return the module that a handler gets for one of the `SUBSTITUTES`."""
    with _LOCK:
        if name not in _made:
            real = tuple(map(importlib.import_module, _RENAMED[name]))
            plain = len(real) == 1 and name not in ADDITIONS
            _made[name] = real[0] if plain else _Extended(name, real)
        return _made[name]


def extended(name: str) -> ModuleType:
    """Return the module that a handler gets for a module with `ADDITIONS`."""
    with _LOCK:
        if name not in _made:
            _made[name] = _Extended(name, (importlib.import_module(name),))
        return _made[name]


def real_module(module: ModuleType) -> ModuleType:
    """Return the module behind an extended one, or else the module itself."""
    real = vars(module)["_real"] if isinstance(module, _Extended) else ()
    return real[0] if real else module


def _public(module: ModuleType) -> list[str]:
    names: list[str] | None = getattr(module, "__all__", None)
    return [name for name in vars(module) if not name.startswith("_")] if names is None else names
