"""Looks at the exceptions inside exception groups, as `asyncio.TaskGroup` raises them.

All code that interprets an exception of a handler uses this module, so that an exception means the
same whether it comes alone or in groups.
"""

from collections.abc import Callable, Iterator

__all__ = ["all_are", "leaves", "without"]


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions in a group, and in the groups in it; or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def all_are(error: BaseException, test: Callable[[BaseException], bool]) -> bool:
    """Tell whether the exception, or every one in the group, passes a test."""
    return all(test(leaf) for leaf in leaves(error))


def without(error: BaseException, test: Callable[[BaseException], bool]) -> BaseException | None:
    """Return the exception without those that pass a test; None if nothing is left.

    The rest of a group keeps its structure, traceback, cause and notes.
    """
    if not isinstance(error, BaseExceptionGroup):
        return None if test(error) else error

    def is_left(inner: BaseException) -> bool:
        # the predicate is called with the groups as well
        return not (isinstance(inner, BaseExceptionGroup) or test(inner))

    return error.subgroup(is_left)
