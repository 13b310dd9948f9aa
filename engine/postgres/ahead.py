"""Compute the next item of an iterator in a thread, while the one before is used."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import TypeVar

T = TypeVar("T")


async def ahead(items: Iterator[T]) -> AsyncGenerator[T]:
    """Yield the items of an iterator. At most two are in memory: one in use, and the next one.

    Close it when it is not read to its end (contextlib.aclosing): a thread cannot be ended, and the
    iterator may read what is closed next.
    """
    following = asyncio.create_task(asyncio.to_thread(next, items, None))
    try:
        while (item := await following) is not None:
            following = asyncio.create_task(asyncio.to_thread(next, items, None))
            yield item
    finally:
        await asyncio.wait([following])
        following.cancelled() or following.exception()  # if it has failed, nobody asks any more
