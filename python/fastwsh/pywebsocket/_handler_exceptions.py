"""Decides what an exception in a handler does to its connection.

For an exception group, as `asyncio.TaskGroup` raises it, the exceptions in it count: if there are
only exceptions of the stream or the handshake, one of them, otherwise the others.
"""

from __future__ import annotations

import contextlib
import traceback

from fastwsh import exception_groups
from fastwsh.pywebsocket import common, handshake, msgutil, stream, util

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator
    from typing import Any, Final

__all__ = ["close_arguments", "closing", "refusal"]

# The exceptions of a stream, and the code to close with; None if the connection has ended. In a
# group, the first one in this order counts.
_CLOSE_CODES: Final = (
    (msgutil.InvalidFrameException, common.STATUS_PROTOCOL_ERROR),
    (msgutil.UnsupportedFrameException, common.STATUS_UNSUPPORTED_DATA),
    (stream.InvalidUTF8Exception, common.STATUS_INVALID_FRAME_PAYLOAD_DATA),
    (msgutil.ConnectionTerminatedException, None),
    (msgutil.BadOperationException, common.STATUS_INTERNAL_ENDPOINT_ERROR),
)
_ABORT: Final = handshake.AbortedByUserException
_OF_HANDSHAKES: Final = (_ABORT, handshake.HandshakeException)
_OF_STREAMS: Final = (_ABORT, *(kind for kind, _ in _CLOSE_CODES))


def refusal(logger: logging.Logger, request: Any, error: Exception) -> handshake.HandshakeException:
    """Return the refusal for an exception in `web_socket_do_extra_handshake`.

    Returns:
        An exception with the status 403, or with that of a HandshakeException of the handler.

    Raises:
        AbortedByUserException: The handler wants the connection dropped.
    """
    others = exception_groups.without(error, lambda leaf: isinstance(leaf, _OF_HANDSHAKES))
    said: Any = None
    if others is None:
        if abort := _find_abort(logger, error):
            raise abort
        leaves = list(exception_groups.leaves(error))
        said = next((leaf for leaf in leaves if getattr(leaf, "status", None)), leaves[0])
    told = others or error
    _name_handler("web_socket_do_extra_handshake", request, told)
    # of a group, only the exceptions in it have a useful text
    text = "; ".join(map(str, exception_groups.leaves(told)))
    refused = handshake.HandshakeException(
        text if told is not error else error,
        getattr(said, "status", None) or common.HTTP_STATUS_FORBIDDEN,
    )
    # what fastwsh's own exception has in addition
    vars(refused).update({name: getattr(said, name, None) for name in ("headers", "body")})
    return refused


def close_arguments(
    logger: logging.Logger, request: Any, error: Exception
) -> tuple[int, str, bool] | tuple[()] | None:
    """Decide what an exception in `web_socket_transfer_data` does to the connection.

    Returns:
        The arguments for `close_connection`; empty if there is nothing left to close; None if the
        connection must be dropped without a close frame and the exception reported.

    Raises:
        AbortedByUserException: The handler wants the connection dropped.
        BaseException: The rest of a group without the stream's exceptions; to be treated like None.
    """
    others = exception_groups.without(error, lambda leaf: isinstance(leaf, _OF_STREAMS))
    if others is not None:
        _name_handler("web_socket_transfer_data", request, others)
        if others is error:
            return None
        # without this, the whole group would be reported as its context
        raise others from others.__cause__
    if abort := _find_abort(logger, error):
        raise abort
    leaves = list(exception_groups.leaves(error))
    for kind, code in _CLOSE_CODES:
        first = next((leaf for leaf in leaves if isinstance(leaf, kind)), None)
        if first is None:
            continue
        if code is not None:
            return _closing(logger, request, first, code)
        logger.debug("%s", first)
        break
    return ()


@contextlib.contextmanager
def closing(logger: logging.Logger) -> Iterator[None]:
    """Close a connection because of an exception; that its peer has gone meanwhile is no other."""
    try:
        yield
    except msgutil.ConnectionTerminatedException as error:
        logger.debug("%s", error)


def _closing(
    logger: logging.Logger, request: Any, error: BaseException, default_code: int
) -> tuple[int, str, bool]:
    """Return the code of the error, or the one for its class, and the other arguments."""
    reason = getattr(error, "close_reason", "")
    if reason:
        # log a limit that was exceeded: the operator may want to raise it
        logger.warning("%r: %s", request.ws_resource, error)
    else:
        logger.debug("%s", error)
    return (
        getattr(error, "close_code", default_code),
        reason,
        getattr(error, "awaits_close", True),
    )


def _find_abort(logger: logging.Logger, error: Exception) -> BaseException | None:
    for leaf in exception_groups.leaves(error):
        if isinstance(leaf, _ABORT):
            logger.debug("%s", traceback.format_exc())
            return leaf
    return None


def _name_handler(function: str, request: Any, error: BaseException) -> None:
    for leaf in exception_groups.leaves(error):
        text = f"{function} raised exception for {request.ws_resource}: "
        util.prepend_message_to_exception(text, leaf)
