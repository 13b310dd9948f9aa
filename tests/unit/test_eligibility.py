"""Which dates are owed, against a loop over days; and how they are packed."""

from datetime import date, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.core.batching import fitting, packed
from engine.core.calendar import numbered
from engine.core.eligibility import owed_ranges

START = date(2024, 1, 1)
DAYS = 25
spans = st.lists(st.tuples(st.integers(0, DAYS), st.integers(0, 8), st.booleans()), max_size=3)
keys = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, DAYS - 1)), st.booleans(), spans, spans), min_size=1, max_size=4)


def day(number: int) -> date:
    return START + timedelta(days=number)


def disjoint(drawn: list[tuple[int, int, bool]], last: int | None = None) -> list[tuple[int, int | None]]:
    """The drawn spans laid one after the other, never touching: how PostgreSQL gives a multirange."""
    laid: list[tuple[int, int | None]] = []
    begin = 0
    for gap, length, open_ended in drawn:
        begin += gap % 5 + (1 if laid else 0)
        end = begin + length
        if last is not None:
            if end > last:
                break
            laid.append((begin, end))
        elif open_ended:
            laid.append((begin, None))
            break
        else:
            laid.append((begin, end))
        begin = end + 1
    return laid


@given(keys, st.sets(st.integers(0, DAYS - 1), min_size=1))
def test_owed_ranges_cover_exactly_the_owed_sessions(drawn: list, session_days: set[int]) -> None:  # type: ignore[type-arg]
    sessions = numbered(
        pl.DataFrame({"calendar_no": [1] * len(session_days), "date": [day(n) for n in session_days]}).cast(
            {"calendar_no": pl.Int16}
        )
    )
    horizon = max(session_days)
    rows, pending_rows, open_rows, expected = [], [], [], set()
    for key, (drawn_frontier, staged, pending_drawn, open_drawn) in enumerate(drawn):
        frontier = None if drawn_frontier is None else min(drawn_frontier, horizon)
        pending = [] if frontier is None else disjoint(pending_drawn, frontier)
        opened = disjoint(open_drawn)
        rows.append((key, 1, staged, None if frontier is None else day(frontier)))
        pending_rows += [(key, day(a), day(b)) for a, b in pending if b is not None]
        open_rows += [(key, day(a), None if b is None else day(b)) for a, b in opened]
        for n in session_days:
            is_open = any(a <= n and (b is None or n <= b) for a, b in opened)
            unscheduled = frontier is None or n > frontier
            unstaged = not staged and any(a <= n and b is not None and n <= b for a, b in pending)
            if is_open and (unscheduled or unstaged):
                expected.add((key, day(n)))
    span_schema = {"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date}
    ranges = owed_ranges(
        pl.DataFrame(
            rows,
            schema={"position_id": pl.Int64, "calendar_no": pl.Int16, "staged": pl.Boolean, "frontier_date": pl.Date},
            orient="row",
        ),
        pl.DataFrame(pending_rows, schema=span_schema, orient="row"),
        pl.DataFrame(open_rows, schema=span_schema, orient="row"),
        sessions,
    )
    covered = [(key, day(n)) for key, first, last, _ in ranges.rows() for n in session_days if first <= day(n) <= last]
    assert len(covered) == len(set(covered)), "two ranges share a session"
    assert set(covered) == expected
    for key, first, last, count in ranges.rows():
        assert (key, first) in expected and (key, last) in expected, "a range ends on a session that is not owed"  # noqa: PT018
        assert count == sum(first <= day(n) <= last for n in session_days)
    assert ranges.equals(ranges.sort("position_id", "first_date"))


owed = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=3), min_size=1, max_size=30)


def ranges_of(rows_by_key: list[list[int]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(key, rows) for key, parts in enumerate(rows_by_key) for rows in parts],
        schema={"position_id": pl.Int64, "rows": pl.Int32},
        orient="row",
    )


@given(owed, st.integers(1, 60))
def test_tasks_are_runs_of_jobs_that_never_split_a_key_and_stay_near_their_size(parts: list[list[int]], size: int) -> None:
    jobs = packed(ranges_of(parts), size, first_job_id=100, first_task_id=7)
    assert jobs["job_id"].to_list() == list(range(100, 100 + len(jobs)))
    assert jobs["task_id"][0] == 7
    assert set(jobs["task_id"].diff().drop_nulls().to_list()) <= {0, 1}
    assert jobs.group_by("position_id").agg(pl.col("task_id").n_unique())["task_id"].max() == 1
    for _, task in jobs.group_by("task_id"):
        last_key = task.filter(pl.col("position_id") == task["position_id"].max())["rows"].sum()
        assert task["rows"].sum() - last_key < size, "a task went on after it was full"


@given(owed, st.integers(1, 200))
def test_what_fits_is_a_prefix_of_whole_keys_and_at_least_one(parts: list[list[int]], room: int) -> None:
    ranges = ranges_of(parts)
    kept = fitting(ranges, room)
    keys = kept["position_id"].n_unique()
    assert keys >= 1
    assert kept.equals(ranges.filter(pl.col("position_id") < keys))
    assert sum(sum(rows) for rows in parts[: keys - 1]) < room
    assert keys == len(parts) or sum(sum(rows) for rows in parts[:keys]) >= room
