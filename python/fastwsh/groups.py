"""Exception groups, as `asyncio.TaskGroup` raises them, seen by what is in them.

Whoever judges an exception asks here first: a handler's exception means the same whether it comes
alone or in groups.
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

    What is left of a group keeps its structure, traceback, cause and notes.
    """
    if not isinstance(error, BaseExceptionGroup):
        return None if test(error) else error

    def is_left(inner: BaseException) -> bool:
        # the groups are asked about as well
        return not (isinstance(inner, BaseExceptionGroup) or test(inner))

    return error.subgroup(is_left)
