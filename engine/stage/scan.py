"""Step 3, stage: scan a page of positions into Arrow, and let the core decide what is due."""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from revalue.engine.core.eligibility import due_ranges
from revalue.engine.core.lifecycle import Lane
from revalue.engine.postgres.arrow import Reader
from revalue.engine.postgres.statement import statements
from revalue.engine.value.inputs import read_business_days

sql = statements(__package__)

PAGE_POSITIONS = 20_000
"""Positions per page of a scan or a fan-out: a larger page delays the live lane."""

# From schemas alone: a query here would start the threads of polars, for which a process that is
# forked after the import would wait for ever.
_SPANS = {"position_id": pl.Int64, "first_date": pl.Date, "last_date": pl.Date}
_NO_SPANS = pl.DataFrame(schema=_SPANS)
NO_RANGES = pl.DataFrame(schema={**_SPANS, "rows": pl.Int32})
_OPEN = ("open_first", "open_last", "is_split")

_SMALL_GAP = 8  # ids: so many other positions are read on the way, in place of another look-up


class Among(StrEnum):
    """Which positions a pass of scans looks at."""

    ALL = "all"
    UNSTAGED = "unstaged"  # those that are noted in unstaged_positions


@dataclass(frozen=True)
class Scan:
    """One page of positions with something to stage.

    positions: position_id, calendar_no, calendar_revision, revision, staged, frontier_date,
        horizon.
    ranges: what is due of them: position_id, first_date, last_date (both included), rows; see
        engine.core.eligibility.
    next_cursor: position_id after which the next page begins; None: this page was the last.
    """

    positions: pl.DataFrame
    ranges: pl.DataFrame
    next_cursor: int | None

    @property
    def is_empty(self) -> bool:
        """Whether no position of the page has anything to stage."""
        return self.positions.is_empty()


def scan_page(
    reader: Reader,
    lane: Lane,
    cursor: int,
    *,
    page_positions: int,
    live_business_days: int,
    among: Among = Among.ALL,
) -> Scan:
    """Read the next page of positions of a lane and decide what is due. Blocks.

    Args:
        cursor: the page begins after this position_id.
        page_positions: largest number of positions of the page.
        live_business_days: a position at most this many business days behind is in the live lane.
        among: which positions to read. Those in unstaged_positions are in the history lane.
    """
    page = {"cursor": cursor, "limit": page_positions, "business_days": live_business_days}
    with reader.snapshot() as snapshot:
        if among is Among.ALL:
            positions = snapshot.read(sql("scan_positions"), live=int(lane is Lane.LIVE), **page)
        elif lane is Lane.HISTORY:
            positions = snapshot.read(sql("scan_unstaged"), **page)
        else:
            raise ValueError("no position of the live lane is noted")
        if positions.is_empty():
            return Scan(positions.drop(_OPEN), NO_RANGES, None)
        unstaged = positions.filter(~pl.col("staged"))["position_id"]
        pending = (
            _NO_SPANS
            if unstaged.is_empty()
            else snapshot.read(sql("scan_pending"), **_runs(unstaged))
        )
        open_spans = positions.filter(
            ~pl.col("is_split") & pl.col("open_first").is_not_null()
        ).select("position_id", first_date="open_first", last_date="open_last")
        split = positions.filter(pl.col("is_split"))["position_id"]
        if not split.is_empty():
            open_spans = pl.concat(
                [open_spans, snapshot.read(sql("scan_open_dates"), **_runs(split))]
            )
        business_days = read_business_days(snapshot)
    positions = positions.drop(_OPEN)
    ranges = due_ranges(positions, pending, open_spans, business_days)
    is_full = len(positions) == page_positions
    return Scan(positions, ranges, int(positions["position_id"][-1]) if is_full else None)


def _runs(ids: pl.Series) -> dict[str, pl.Series]:
    """Return the runs of ascending ids, from `firsts` to `lasts`; small gaps are in the runs."""
    begins = (ids.diff() > _SMALL_GAP).fill_null(True)
    ends = begins.shift(-1).fill_null(True)
    return {"firsts": ids.filter(begins), "lasts": ids.filter(ends)}
