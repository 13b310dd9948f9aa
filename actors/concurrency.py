"""Steps that run concurrently, and waits with a time limit.

Not asyncio.TaskGroup: it cancels the others when one fails. Here each finishes its transaction
first, and a permanent error is raised before a transient one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from revalue.engine.errors import TransientError


async def gather_all(*steps: Awaitable[bool]) -> list[bool]:
    """Run all concurrently; after every one has finished, raise the most serious error, if any.

    Returns:
        What each returned, in order.
    """
    done = await asyncio.gather(*steps, return_exceptions=True)
    raise_most_serious([each for each in done if isinstance(each, BaseException)])
    return [each is True for each in done]


def raise_most_serious(errors: Iterable[BaseException | None]) -> None:
    """Raise one of the errors, if there is any: a permanent one before a transient one."""
    raised = [error for error in errors if error is not None]
    if raised:
        raise min(raised, key=lambda error: isinstance(error, TransientError))


async def arrives_within(what: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Await `what()` for at most `seconds`; return whether it ended in time."""
    try:
        await asyncio.wait_for(what(), seconds)
    except TimeoutError:
        return False
    return True


def now() -> float:
    """The clock of the running event loop, in seconds: a simulated one in tests/simulation."""
    return asyncio.get_running_loop().time()
