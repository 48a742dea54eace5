"""What an exception in a handler does to its connection.

A group of exceptions, as `asyncio.TaskGroup` raises them, is judged by what is in it: like one of
the stream's or the handshake's exceptions if it has no others, else by the others.
"""

import logging
import traceback
from typing import Any, Final

from fastwsh import groups
from fastwsh.pywebsocket import common, handshake, msgutil, stream, util

__all__ = ["judge", "refusal"]

# What a stream raises, and the code to close with; None: the connection has ended. In a group the
# first of these counts.
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
    """Return what an exception in a handler's `web_socket_do_extra_handshake` comes to.

    Returns:
        An exception whose status is 403, or that of a HandshakeException which the handler raised.

    Raises:
        AbortedByUserException: The handler wants the connection dropped.
    """
    others = groups.without(error, lambda leaf: isinstance(leaf, _OF_HANDSHAKES))
    status = None
    if others is None:
        if abort := _find_abort(logger, error):
            raise abort
        statuses = (getattr(leaf, "status", None) for leaf in groups.leaves(error))
        status = next(filter(None, statuses), None)
    told = others or error
    _name_handler("web_socket_do_extra_handshake", request, told)
    # of a group only what is in it says anything
    text = "; ".join(map(str, groups.leaves(told)))
    return handshake.HandshakeException(
        text if told is not error else error, status or common.HTTP_STATUS_FORBIDDEN
    )


def judge(
    logger: logging.Logger, request: Any, error: Exception
) -> tuple[int, str, bool] | tuple[()] | None:
    """Decide what an exception in a handler's `web_socket_transfer_data` makes of its connection.

    Returns:
        What to call `close_connection` with; nothing if there is nothing left to close; None if
        the connection has to be dropped without a close frame, and the exception be told.

    Raises:
        AbortedByUserException: The handler wants the connection dropped.
        BaseException: As None, for what is left of a group without the stream's exceptions.
    """
    others = groups.without(error, lambda leaf: isinstance(leaf, _OF_STREAMS))
    if others is not None:
        _name_handler("web_socket_transfer_data", request, others)
        if others is error:
            return None
        # with a context it would be told along with the whole group
        raise others from others.__cause__
    if abort := _find_abort(logger, error):
        raise abort
    leaves = list(groups.leaves(error))
    for kind, code in _CLOSE_CODES:
        first = next((leaf for leaf in leaves if isinstance(leaf, kind)), None)
        if first is None:
            continue
        if code is not None:
            return _closing(logger, request, first, code)
        logger.debug("%s", first)
        break
    return ()


def _closing(
    logger: logging.Logger, request: Any, error: BaseException, default_code: int
) -> tuple[int, str, bool]:
    """Return the code that the error names, or the one for its class, and what goes with it."""
    reason = getattr(error, "close_reason", "")
    if reason:
        # a limit is the operator's, who may want to raise it
        logger.warning("%r: %s", request.ws_resource, error)
    else:
        logger.debug("%s", error)
    return (
        getattr(error, "close_code", default_code),
        reason,
        getattr(error, "awaits_close", True),
    )


def _find_abort(logger: logging.Logger, error: Exception) -> BaseException | None:
    for leaf in groups.leaves(error):
        if isinstance(leaf, _ABORT):
            logger.debug("%s", traceback.format_exc())
            return leaf
    return None


def _name_handler(function: str, request: Any, error: BaseException) -> None:
    for leaf in groups.leaves(error):
        text = f"{function} raised exception for {request.ws_resource}: "
        util.prepend_message_to_exception(text, leaf)
