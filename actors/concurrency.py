"""Moves made beside each other, and waits that end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from revalue.engine.errors import TransientError


async def gather_all(*moves: Awaitable[bool]) -> list[bool]:
    """What each has done. When one raises, the others end first."""
    done = await asyncio.gather(*moves, return_exceptions=True)
    raise_most_serious([each for each in done if isinstance(each, BaseException)])
    return [each is True for each in done]


def raise_most_serious(errors: Iterable[BaseException | None]) -> None:
    """Raises one of them, if there is any: a permanent one before a transient one."""
    raised = [error for error in errors if error is not None]
    if raised:
        raise min(raised, key=lambda error: isinstance(error, TransientError))


async def arrives_within(what: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Whether it came before the time was over."""
    try:
        await asyncio.wait_for(what(), seconds)
    except TimeoutError:
        return False
    return True
