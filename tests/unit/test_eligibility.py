"""Which dates are due, against a loop over days; and how they are packed."""

from datetime import date, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from revalue.engine.core.batching import assign_jobs, take_within
from revalue.engine.core.calendar import number_business_days
from revalue.engine.core.eligibility import due_ranges, unite_ranges

START = date(2024, 1, 1)
DAYS = 25
spans = st.lists(st.tuples(st.integers(0, DAYS), st.integers(0, 8), st.booleans()), max_size=3)
positions = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, DAYS - 1)), st.booleans(), spans, spans),
    min_size=1,
    max_size=4,
)


def day(number: int) -> date:
    return START + timedelta(days=number)


def disjoint(
    drawn: list[tuple[int, int, bool]], last: int | None = None
) -> list[tuple[int, int | None]]:
    """The drawn spans one after the other, never touching, like the ranges of a multirange."""
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


@given(positions, st.sets(st.integers(0, DAYS - 1), min_size=1), st.integers(0, DAYS))
def test_due_ranges_cover_exactly_the_due_business_days(  # type: ignore[type-arg]
    drawn: list, all_days: set[int], later: int
) -> None:
    """The last `later` business days are after the horizon: nothing is due on them."""
    business_days = number_business_days(
        pl.DataFrame({"calendar_no": [1] * len(all_days), "date": [day(n) for n in all_days]}).cast(
            {"calendar_no": pl.Int16}
        )
    )
    open_days = set(sorted(all_days)[: max(1, len(all_days) - later)])
    horizon = max(open_days)
    rows, pending_rows, open_rows, expected = [], [], [], set()
    for position, (drawn_frontier, staged, pending_drawn, open_drawn) in enumerate(drawn):
        frontier = None if drawn_frontier is None else min(drawn_frontier, horizon)
        pending = [] if frontier is None else disjoint(pending_drawn, frontier)
        opened = disjoint(open_drawn)
        scheduled = None if frontier is None else day(frontier)
        rows.append((position, 1, staged, scheduled, day(horizon)))
        pending_rows += [(position, day(a), day(b)) for a, b in pending if b is not None]
        open_rows += [(position, day(a), None if b is None else day(b)) for a, b in opened]
        for n in open_days:
            is_open = any(a <= n and (b is None or n <= b) for a, b in opened)
            unscheduled = frontier is None or n > frontier
            unstaged = not staged and any(a <= n and b is not None and n <= b for a, b in pending)
            if is_open and (unscheduled or unstaged):
                expected.add((position, day(n)))
    span_schema = {"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date}
    ranges = due_ranges(
        pl.DataFrame(
            rows,
            schema={
                "position_id": pl.Int64,
                "calendar_no": pl.Int16,
                "staged": pl.Boolean,
                "frontier_date": pl.Date,
                "horizon": pl.Date,
            },
            orient="row",
        ),
        pl.DataFrame(pending_rows, schema=span_schema, orient="row"),
        pl.DataFrame(open_rows, schema=span_schema, orient="row"),
        business_days,
    )
    covered = [
        (position, day(n))
        for position, first, last, _ in ranges.rows()
        for n in open_days
        if first <= day(n) <= last
    ]
    assert len(covered) == len(set(covered)), "two ranges share a business day"
    assert set(covered) == expected
    for position, first, last, count in ranges.rows():
        assert {(position, first), (position, last)} <= expected, (
            "a range ends on a business day that is not due"
        )
        assert count == sum(first <= day(n) <= last for n in open_days)
    assert ranges.equals(ranges.sort("position_id", "first_date"))


due = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=3), min_size=1, max_size=30)


drawn_ranges = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12), st.integers(0, 4)))


@given(drawn_ranges)
def test_united_ranges_cover_the_same_days_and_never_touch(
    drawn: list[tuple[int, int, int]],
) -> None:
    schema = {"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date}
    ranges = pl.DataFrame(
        [(position, day(first), day(first + length)) for position, first, length in drawn],
        schema=schema,
        orient="row",
    ).sort("position_id", "first_date")
    days = {(position, first + n) for position, first, length in drawn for n in range(length + 1)}
    begins = sorted((position, n) for position, n in days if (position, n - 1) not in days)
    ends = sorted((position, n) for position, n in days if (position, n + 1) not in days)
    assert unite_ranges(ranges).rows() == [
        (position, day(first), day(last))
        for (position, first), (_, last) in zip(begins, ends, strict=True)
    ]


def ranges_of(rows_by_position: list[list[int]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(position, rows) for position, parts in enumerate(rows_by_position) for rows in parts],
        schema={"position_id": pl.Int64, "rows": pl.Int32},
        orient="row",
    )


@given(due, st.integers(1, 60))
def test_jobs_are_runs_of_positions_that_never_split_one_and_stay_near_their_size(
    parts: list[list[int]], size: int
) -> None:
    spans = assign_jobs(ranges_of(parts), size)
    assert spans["job_no"][0] == 0
    assert set(spans["job_no"].diff().drop_nulls().to_list()) <= {0, 1}
    assert spans.group_by("position_id").agg(pl.col("job_no").n_unique())["job_no"].max() == 1
    for _, job in spans.group_by("job_no"):
        last_position = job.filter(pl.col("position_id") == job["position_id"].max())["rows"].sum()
        assert job["rows"].sum() - last_position < size, "a job continued after it was full"


@given(due, st.integers(1, 200))
def test_what_fits_is_a_prefix_of_whole_positions_and_at_least_one(
    parts: list[list[int]], capacity: int
) -> None:
    ranges = ranges_of(parts)
    kept = take_within(ranges, capacity)
    positions = kept["position_id"].n_unique()
    assert positions >= 1
    assert kept.equals(ranges.filter(pl.col("position_id") < positions))
    assert sum(sum(rows) for rows in parts[: positions - 1]) < capacity
    assert positions == len(parts) or sum(sum(rows) for rows in parts[:positions]) >= capacity
