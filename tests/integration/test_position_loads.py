"""A load of positions writes what a plain model says: records, open dates and what is due."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revalue.engine.correct.loads.load import load
from revalue.engine.postgres.database import Database
from tests.conftest import small_book
from tests.integration.loading import GONE, HELD, MORE, Model, Values, changed, day, frame_of
from tests.support import DAYS, examples, execute, facts, fetch, prices, state_of

Facts = dict[int, int]

LAST = 14


def held(history: Facts, at: int) -> int | None:
    known = [quantity for when, quantity in sorted(history.items()) if when <= at]
    return known[-1] if known else None


def held_and_open(history: Facts, at: int) -> tuple[int, bool]:
    return held(history, at) or 0, is_open(history, at)


def is_open(history: Facts, at: int) -> bool:
    earlier = [quantity for when, quantity in sorted(history.items()) if when < at]
    return bool(held(history, at)) or (history.get(at) == 0 and bool(earlier) and earlier[-1] != 0)


loaded_records = st.dictionaries(
    st.integers(0, LAST), st.sampled_from([0, 0, 3, 5]), min_size=1, max_size=4
)


@pytest.mark.slow
@settings(max_examples=examples(20))
@given(
    st.lists(
        st.tuples(loaded_records, st.booleans(), st.one_of(st.none(), st.integers(0, LAST))),
        min_size=1,
        max_size=5,
    )
)
async def test_histories_open_dates_and_what_is_due_follow_every_load(
    server_url: str, template: str, loads: list[tuple[Facts, bool, int | None]]
) -> None:
    async with (
        small_book(server_url, template, 1, valued=False) as url,
        await Database.open(url) as database,
    ):
        await execute(database, "SET revalue.loading_positions = on; DELETE FROM position_history")
        await execute(
            database, "UPDATE position_state SET open_dates = '{}', published_open_dates = '{}'"
        )
        history: Facts = {}
        frontier: int | None = None
        for given_records, replace, moved in loads:
            if moved is not None and (frontier is None or moved > frontier):
                frontier = moved
                await execute(
                    database,
                    "UPDATE position_state SET frontier_date = $1 WHERE security_id = 'A'",
                    day(frontier),
                )
            earliest = min(given_records)
            kept = {
                d: q
                for d, q in history.items()
                if d < earliest or (not replace and d not in given_records)
            }
            becomes = {**kept, **given_records}
            before = await state_of(database, "P1", "A")
            result = await load(
                database,
                "positions",
                facts("P1", "A", {day(d): str(q) for d, q in given_records.items()}),
                replace=replace,
            )
            after = await state_of(database, "P1", "A")
            differing = [
                d for d in range(LAST + 1) if held_and_open(history, d) != held_and_open(becomes, d)
            ]
            corrected = bool(differing) and frontier is not None and differing[0] <= frontier
            assert (result.positions_corrected, result.positions_extended) == (
                int(corrected),
                int(bool(differing) and not corrected),
            )
            assert after["epoch"] - before["epoch"] == int(corrected)
            if not differing:
                assert after == before
            await check_position(database, becomes, history, corrected, frontier, before, after)
            history = becomes


def inside(spans, number: int) -> bool:  # type: ignore[no-untyped-def]
    at = day(number)
    return any(
        (span.lower is None or span.lower <= at) and (span.upper is None or at < span.upper)
        for span in spans
    )


async def check_position(database, becomes, history, corrected, frontier, before, after) -> None:
    stored = await fetch(
        database,
        """SELECT position_date, quantity FROM position_history
           WHERE position_id = $1 AND valid_to_epoch IS NULL""",
        after["position_id"],
    )
    assert {when: int(quantity) for when, quantity in stored} == {
        day(d): q for d, q in becomes.items()
    }
    days = range(LAST + 3)
    assert [inside(after["open_dates"], d) for d in days] == [is_open(becomes, d) for d in days]
    if not corrected:
        assert after["pending"] == before["pending"]
        return
    for d in days:
        differs = held_and_open(history, d) != held_and_open(becomes, d)
        due = inside(before["pending"], d) or (d <= frontier and differs)
        assert inside(after["pending"], d) == (due and is_open(becomes, d)), f"day {d}"


async def test_the_days_of_a_load_are_dates() -> None:
    assert DAYS[0] == day(0)
    assert prices("A", {day(0): "1"})["price_date"][0] == day(0)


# The load of one position against a plain model, exactly

FACT_DAYS, END = 12, 16  # the last day of the window stands for all days after it


def open_days(model: Model) -> set[int]:
    found, quantity = set(), 0
    for d in range(END):
        before = quantity
        quantity = model[d][0] if d in model else quantity
        if quantity or (d in model and before):
            found.add(d)
    return found


def after_load(model: Model, given_records: Model, replace: bool) -> Model:
    first = min(given_records)
    return {d: v for d, v in model.items() if d < first or not replace} | given_records


def in_force(model: Model) -> list[Values]:
    """The values of each day; before the first record nothing is held."""
    found = [(0, 0, 0)]
    for d in range(END):
        found.append(model.get(d, found[-1]))
    return found[1:]


def affected_days(was: Model, becomes: Model) -> set[int]:
    pairs = zip(in_force(was), in_force(becomes), strict=True)
    return {d for d, (old, new) in enumerate(pairs) if old != new} | (
        open_days(becomes) - open_days(was)
    )


def days_of(spans) -> set[int]:  # type: ignore[no-untyped-def]
    return {d for d in range(END) if inside(spans, d)}


RECORDS = """
    SELECT position_date, quantity, cost_basis_local, cost_basis FROM position_history
    WHERE position_id = $1 AND valid_from_epoch <= $2
      AND (valid_to_epoch IS NULL OR valid_to_epoch > $2)
"""

"""The history of a position under an epoch."""


async def check_load(
    book: Database,
    was: dict[str, Model],
    given_records: dict[str, Model],
    frontier: int | None,
    replace: bool,
) -> dict[str, Model]:
    """Load records of several positions; compare all that a load may write with the model."""
    at = day(frontier) if frontier is not None else None
    held_back = (
        "pending = pending * datemultirange(daterange(NULL, $1, '(]'))" if at else "pending = '{}'"
    )
    await execute(book, f"UPDATE position_state SET frontier_date = $1::date, {held_back}", at)
    before = {s: await state_of(book, "P1", s) for s in was}
    newest = (await fetch(book, "SELECT COALESCE(max(trigger_id), 0) FROM reprocessing_triggers"))[
        0
    ][0]
    result = await load(
        book,
        "positions",
        pl.concat([frame_of(s, m) for s, m in given_records.items()]),
        replace=replace,
    )
    reached: set[int] = set()
    corrected = extended = 0
    becomes = {
        s: after_load(m, given_records[s], replace) if s in given_records else m
        for s, m in was.items()
    }
    gone = [
        (s, day(d), *m[d]) for s, m in sorted(was.items()) for d in sorted(m) if d not in becomes[s]
    ]
    assert [tuple(vars(record).values())[1:] for record in result.removed_records] == gone
    assert result.removed == len(gone)
    for s, new in becomes.items():
        state, old = await state_of(book, "P1", s), before[s]
        stored = await fetch(
            book,
            RECORDS,
            state["position_id"],
            state["epoch"],
        )
        assert {row[0]: tuple(map(int, row[1:])) for row in stored} == {
            day(d): v for d, v in new.items()
        }
        assert days_of(state["open_dates"]) == open_days(new)
        reach = affected_days(was[s], new)
        if not reach:
            assert state == old
            continue
        if frontier is None or min(reach) > frontier:
            extended += 1
            is_published = old["published_epoch"] == old["epoch"]
            shown = state["open_dates"] if is_published else old["published_open_dates"]
            moved = {
                "revision": old["revision"] + 1,
                "open_dates": state["open_dates"],
                "published_open_dates": shown,
            }
            assert state == old | moved
            continue
        corrected += 1
        reached |= reach
        assert (state["epoch"], state["history_epoch"], state["revision"]) == (
            old["epoch"] + 1,
            old["epoch"] + 1,
            old["revision"] + 1,
        )
        assert state["published_open_dates"] == old["published_open_dates"]
        due = days_of(old["pending"]) | {d for d in reach if d <= frontier}
        assert days_of(state["pending"]) == due & open_days(new)
        audit = await fetch(book, RECORDS, state["position_id"], old["epoch"])
        assert {row[0]: tuple(map(int, row[1:])) for row in audit} == {
            day(d): v for d, v in was[s].items()
        }
    assert (result.positions_corrected, result.positions_extended) == (corrected, extended)
    left = await fetch(
        book,
        """SELECT kind, dates, positions_invalidated, fanned_out_at IS NOT NULL
           FROM reprocessing_triggers WHERE trigger_id > $1""",
        newest,
    )
    assert [(kind, days_of(dates), positions, done) for kind, dates, positions, done in left] == (
        [("POSITION", reached, corrected, True)] if corrected else []
    )
    return becomes


@pytest.mark.parametrize(
    ("was", "given_records", "frontier", "replace"),
    [
        pytest.param({}, {2: HELD}, None, False, id="new"),
        pytest.param({}, {2: GONE, 4: GONE, 6: HELD}, None, False, id="records of 0 first"),
        pytest.param({2: HELD}, {6: MORE}, 5, False, id="extension"),
        pytest.param({2: HELD}, {6: MORE}, 6, False, id="correction on the frontier itself"),
        pytest.param(
            {2: HELD, 6: MORE}, {4: MORE}, 9, True, id="replaced: the later record is gone"
        ),
        pytest.param({2: HELD, 6: HELD}, {4: MORE}, 9, False, id="the later record stays"),
        pytest.param({2: HELD, 6: MORE}, {2: HELD, 6: MORE}, 9, False, id="nothing new"),
        pytest.param({2: HELD, 6: MORE}, {2: HELD}, 9, False, id="nothing new, and a later record"),
        pytest.param(
            {2: HELD, 6: MORE}, {2: HELD}, 9, True, id="the same record, and the later one is gone"
        ),
        pytest.param({2: HELD}, {6: GONE}, 9, False, id="closed"),
        pytest.param({2: HELD, 4: GONE}, {7: MORE}, 9, False, id="opened again"),
        pytest.param(
            {2: HELD, 7: GONE}, {4: GONE}, 9, False, id="closed earlier: no closing date twice"
        ),
        pytest.param({4: GONE}, {2: HELD}, 9, False, id="a record of 0 becomes a closing date"),
        pytest.param({2: HELD}, {2: GONE}, 9, False, id="never open"),
        pytest.param({2: HELD}, {0: MORE}, 9, False, id="earlier than all known"),
        pytest.param({2: HELD}, {2: (5, 50, 46)}, 9, False, id="only a cost basis differs"),
        pytest.param({2: HELD}, {6: HELD}, 9, False, id="the record in force again"),
        pytest.param({2: HELD}, {6: HELD}, 4, False, id="the same, after the frontier"),
        pytest.param({2: HELD, 6: HELD}, {2: HELD}, 9, True, id="a repeating record is gone"),
        pytest.param({2: HELD, 6: HELD}, {4: MORE}, 9, True, id="corrected from between on"),
        pytest.param({2: HELD, 4: GONE}, {6: GONE}, 9, False, id="closed again"),
        pytest.param({2: HELD, 4: GONE, 6: GONE}, {4: HELD}, 9, False, id="closed later"),
        pytest.param({4: HELD}, {2: GONE}, 9, False, id="a record of 0 before the first one"),
        pytest.param({}, {2: GONE}, None, False, id="new and never open"),
    ],
)
async def test_a_position_load_writes_what_the_model_says(
    book: Database, was: Model, given_records: Model, frontier: int | None, replace: bool
) -> None:
    await load(book, "instruments", changed("instruments"))
    await load(book, "positions", frame_of("C", was or given_records))
    if not was:  # the first load is the one in question
        state = await state_of(book, "P1", "C")
        assert (state["epoch"], state["revision"], days_of(state["open_dates"])) == (
            0,
            int(bool(open_days(given_records))),
            open_days(given_records),
        )
        assert state["published_open_dates"] == state["open_dates"]
        return
    await check_load(book, {"C": was}, {"C": given_records}, frontier, replace)


histories = st.dictionaries(
    st.integers(0, FACT_DAYS - 1),
    st.sampled_from([HELD, (5, 51, 45), MORE, GONE, GONE]),
    min_size=1,
    max_size=4,
)

steps = st.tuples(
    st.dictionaries(st.sampled_from("AB"), histories, min_size=1),
    st.one_of(st.none(), st.integers(0, END - 2)),
    st.booleans(),
)


@pytest.mark.slow
@settings(max_examples=examples(30))
@given(st.lists(steps, min_size=1, max_size=6))
async def test_any_sequence_of_loads_of_two_positions_follows_the_model(
    server_url: str, template: str, sequence: list[tuple[dict[str, Model], int | None, bool]]
) -> None:
    async with (
        small_book(server_url, template, 1, valued=False) as url,
        await Database.open(url) as opened,
    ):
        model: dict[str, Model] = {s: {0: (10, 1000, 1000)} for s in "AB"}
        await load(
            opened,
            "positions",
            pl.concat([frame_of(s, m) for s, m in model.items()]),
            replace=True,
        )
        for given_records, frontier, replace in sequence:
            model = await check_load(opened, model, given_records, frontier, replace)
