"""Checks the options before a server starts, and explains in a sentence what is wrong.

Owns the change to the document root, and the checks of paths and of options that need each other.
`option_values` has the ranges of single values. Knows nothing about the server itself.
"""

import argparse
import os
from contextlib import suppress

from fastwsh import paths
from fastwsh.config_error import ConfigError

__all__ = ["ConfigError", "check_options", "enter_document_root", "started_in"]


def started_in(options: argparse.Namespace) -> str:
    """Return the current folder; where it was removed, the document root, which is entered then.

    Raises:
        ConfigError: It was removed, and the document root is not named from `/` on.
    """
    with suppress(FileNotFoundError):
        return os.getcwd()  # noqa: PTH109 (a string)
    enter_document_root(options)
    return os.getcwd()  # noqa: PTH109


def enter_document_root(options: argparse.Namespace) -> None:
    """Change to the document root. All other relative paths are relative to it.

    Raises:
        ConfigError: There is no such folder, or it may not be entered.
    """
    try:
        os.chdir(options.document_root)
        # fails in a folder that was removed
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        raise ConfigError(
            f"cannot use the document root {options.document_root!r} ({error.strerror}); "
            "name an existing folder with --document-root"
        ) from error


def check_options(options: argparse.Namespace) -> None:
    """Check paths and combinations, and set what follows from other options.

    Sets `scan_dir` if it was not given, `cgi_directories`, `is_executable_method` and, with
    `use_basic_auth`, turns `basic_auth_credential` into the value that the header must have;
    pywebsocket's `_main` makes the same additions.

    Raises:
        ConfigError: A path cannot be used, or an option needs another one.
    """
    _check_texts(options)
    _check_encoding(options)
    _check_backplane(options)
    _check_tls(options)
    _check_proxies(options)
    _check_folder("handler root", options.websock_handlers, "--websock-handlers")
    if options.scan_dir:
        _check_folder("scan folder", options.scan_dir, "--scan-dir")
        if not paths.is_inside(options.scan_dir, options.websock_handlers):
            raise ConfigError(
                f"the scan folder {options.scan_dir!r} is not inside the handler root "
                f"{options.websock_handlers!r}; name one that is with --scan-dir"
            )
    else:
        options.scan_dir = options.websock_handlers
    if options.websock_handlers_map_file:
        _check_file("map file", options.websock_handlers_map_file, "--websock-handlers-map-file")
    options.cgi_directories = options.cgi_paths.split(",") if options.cgi_paths else []
    for path in options.cgi_directories:
        if paths.below_root(path) is None:
            raise ConfigError(
                f"the folder {path!r} of --cgi-paths is not under the document root; "
                "name one that is"
            )
    options.is_executable_method = None
    if options.use_basic_auth:
        import base64  # noqa: PLC0415 (few need it)

        # the bytes as they were typed, in any encoding
        credential = os.fsencode(options.basic_auth_credential)
        options.basic_auth_credential = "Basic " + base64.b64encode(credential).decode("ascii")


def _check_texts(options: argparse.Namespace) -> None:
    """Refuse values that are not text, and read the host as a URL has it."""
    for name in ("server_host", "validation_host", "handler_encoding"):
        value = getattr(options, name, None) or ""
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"the value {value!r} of {option} is not valid UTF-8; write it in ASCII"
            ) from None
    host = options.server_host or ""
    if host.startswith("[") and host.endswith("]"):
        # an IPv6 address as in a URL
        options.server_host = host[1:-1]


def _check_encoding(options: argparse.Namespace) -> None:
    """Refuse an encoding that Python does not know, or that is not one of text."""
    name = options.handler_encoding
    try:
        # only None is the locale's
        if name is not None:
            "".encode(name)
    except (LookupError, ValueError):
        raise ConfigError(
            f"{name!r} is no text encoding; name one that Python knows with --handler-encoding, "
            "for example utf-8"
        ) from None


def _check_backplane(options: argparse.Namespace) -> None:
    if getattr(options, "backplane", None):
        from fastwsh.backplane import engines  # noqa: PLC0415 (few need it)

        engines.check(options.backplane)


def _check_tls(options: argparse.Namespace) -> None:
    if not options.use_tls:
        if options.tls_client_auth or options.tls_client_cert_optional:
            raise ConfigError("client certificates need TLS; add --tls")
        return
    if not options.private_key or not options.certificate:
        raise ConfigError("TLS needs a key and a certificate; add --private-key and --certificate")
    if options.tls_client_cert_optional and not options.tls_client_auth:
        raise ConfigError("--tls-client-cert-optional has a meaning only with --tls-client-auth")
    if options.tls_client_auth and not options.tls_client_ca:
        raise ConfigError(
            "client certificates need the authorities that they come from; add --tls-client-ca"
        )
    _check_file("private key", options.private_key, "--private-key")
    _check_file("certificate", options.certificate, "--certificate")
    if options.tls_client_ca:
        _check_file("client authorities", options.tls_client_ca, "--tls-client-ca")


def _check_proxies(options: argparse.Namespace) -> None:
    if options.proxy_protocol and not options.trusted_proxies:
        raise ConfigError(
            "--proxy-protocol needs to know whose headers to believe; add --trusted-proxies"
        )


def _check_folder(what: str, path: str, option: str) -> None:
    try:
        with os.scandir(path):
            pass
    except OSError as error:
        raise _unusable(what, path, error, f"name an existing folder with {option}") from error


def _check_file(what: str, path: str, option: str) -> None:
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH110, PTH112, PTH113
        # a pipe can be read only once, and perhaps nobody writes it
        raise ConfigError(
            f"cannot use the {what} {path!r} (it is no regular file); save it in one, and name "
            f"that with {option}"
        )
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (a string as given)
            file.read(1)
    except OSError as error:
        raise _unusable(what, path, error, f"name a readable file with {option}") from error


def _unusable(what: str, path: str, error: OSError, remedy: str) -> ConfigError:
    # an empty one is not the current folder; resolve() would hide a dangling link
    full = os.path.abspath(path) if path else path  # noqa: PTH100
    if not os.path.isabs(path):  # noqa: PTH117 (a string as given)
        remedy += ", seen from the document root"
    return ConfigError(f"cannot use the {what} {full!r} ({error.strerror}); {remedy}")
