"""How much of a run is left, as its progress says it."""

from revalue.actors import work_left
from revalue.actors.work_left import WorkLeft
from revalue.engine.settings import Settings
from tests.conftest import book_template, named
from tests.support import DAYS, until


async def test_what_is_written_is_subtracted_from_what_was_due(
    server_url: str, template: str
) -> None:
    url = named(server_url, await book_template(server_url, template, 2, valued=False))
    left = WorkLeft(url, Settings())
    left._next = 0  # do not wait a second
    assert left.of(100) is None, "it does not wait for the answer"
    await until(lambda: left.of(100) is not None)
    due = 4 * len(DAYS)
    assert left.of(100) == due
    assert left.of(100 + 30) == due - 30
    assert left.of(100 + due) is None, "more has become due since, and nobody knows how much"


async def test_a_run_goes_on_where_nobody_can_say_what_is_left() -> None:
    left = WorkLeft("postgresql://localhost:1/nowhere", Settings())
    left._next = 0
    assert left.of(0) is None
    asking = left._thread
    assert asking is not None
    await until(lambda: not asking.is_alive())
    assert left.of(0) is None
    assert left._next > work_left._PAUSE_SECONDS
