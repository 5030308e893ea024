"""A function whose every call is measured, as ``@wattlaw.measure(...)`` makes it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec, TypeVar, cast

from wattlaw.core.errors import UsageError

P = ParamSpec("P")
T = TypeVar("T")


def decorated(
    function: Callable[P, T], block: Callable[[], AbstractContextManager[object]]
) -> Callable[P, T]:
    """Return a function that runs in a block of its own at each call; an ``async`` one until it returns.

    Raises UsageError for a generator: a call of it only makes it, and its body runs where somebody iterates.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"{function.__name__} is a generator, whose body runs where it is iterated; "
            "write `with wattlaw.measure(...)` around that loop"
        )
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def measured_task(*args: P.args, **kwargs: P.kwargs) -> Any:
            with block():
                return await function(*args, **kwargs)

        return cast("Callable[P, T]", measured_task)

    @functools.wraps(function)
    def measured_call(*args: P.args, **kwargs: P.kwargs) -> T:
        with block():
            return function(*args, **kwargs)

    return measured_call
