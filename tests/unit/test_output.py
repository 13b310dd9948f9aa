"""Tables of the command line, as a file or a pipe gets them."""

import re
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any

import polars as pl
import pytest

from revalue.console.cli.correction_output import print_correction
from revalue.console.cli.output import counted, err, on_dates, out, print_table, tidy
from revalue.console.cli.progress import (
    describe,
    describe_export,
    describe_load,
    describe_migration,
    describe_progress,
    describe_read,
    describe_verify,
)
from revalue.console.cli.report_output import Cells, Target
from revalue.console.cli.status import (
    as_dict,
    not_opened,
    old_horizon,
    print_status,
    watermarks,
    what_is_left,
)
from revalue.console.cli.value import describe_run
from revalue.engine.core.date_ranges import DateRange
from revalue.engine.correct.corrections.files import FileCorrection
from revalue.engine.correct.loads.load_progress import LoadProgress
from revalue.engine.export.export import ExportProgress
from revalue.engine.operate.status import Status
from revalue.engine.runtime import Run, RunProgress


def test_nothing_is_folded_and_numbers_end_at_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    columns = ("portfolio", *(f"a title that is long {n}" for n in range(5)), "change", "job_id")
    rows = [
        ("EUR-GROWTH", *["2015-06-15"] * 5, change, 1_234_567)
        for change in ("+1,234.50", "-1.00", None)
    ]
    print_table("Movers", columns, rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 3 + 3 + 1
    cells = [line.split("│")[1:-1] for line in lines[4:7]]
    assert [row[6].rstrip() for row in cells] == [" +1,234.50", "     -1.00", "         -"]
    assert {row[7].strip() for row in cells} == {"1234567"}, "an id is copied into another command"


POSITIONS: Cells = {
    name: itemgetter(name) for name in ("security", "date", "price", "market value", "gain")
}
NARROW = ("date", "price", "gain")


@pytest.mark.parametrize(
    ("width", "days", "left_out"),
    [
        (80, 1, ()),
        (65, 1, ("date",)),
        (50, 1, ("date", "price")),
        (65, 2, ("price",)),
        (20, 1, ("date", "price", "gain")),
    ],
)
async def test_a_narrow_terminal_has_fewer_columns_and_no_folded_id(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    days: int,
    left_out: tuple[str, ...],
) -> None:
    monkeypatch.setattr(out, "_width", width)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    row = {"security": "A-SECURITY-WITH-ITS-ID", "price": 12.5, "market value": 1234, "gain": 5}

    async def frames() -> AsyncGenerator[pl.DataFrame, None]:
        for number in range(days):
            yield pl.DataFrame([{**row, "date": date(2024, 3, 4 + number)}])

    await Target(None, False, {}, POSITIONS, NARROW).put(frames(), lambda: "done")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    titles = [cell.strip() for cell in lines[1].strip("┃").split("┃")]
    assert titles == [name for name in POSITIONS if name not in left_out]
    assert sum("A-SECURITY-WITH-ITS-ID" in line for line in lines) == days
    assert (max(map(len, lines[:4])) <= width) == (width > 20)
    said = f"left out, because the terminal is narrow: {', '.join(left_out)}."
    assert any(line.startswith(said) for line in lines) == bool(left_out)


@pytest.mark.parametrize("name", ["FUND[eur]", "SWAP[/3M]", "A:smile:B", "[bold]X[/bold]"])
def test_an_id_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(f"Positions of {name}", ("security",), [(name,)])
    out.print(f"position {name}", style="bold")
    err.print(
        describe_progress(
            "valuing", RunProgress(0, 0, 0, 0, 0, idle=False, paused=False, trouble=name)
        )
    )
    printed = capsys.readouterr()
    assert printed.out.count(name) == 3
    assert name in printed.err


def test_stored_prices_lose_the_zeros_that_say_nothing() -> None:
    assert (
        tidy("quantity 12.500 at 40.0480000000 on 2015-06-10")
        == "quantity 12.5 at 40.048 on 2015-06-10"
    )
    assert tidy("1.000000000000000000") == "1"
    assert tidy("100") == "100"


A, B = date(2016, 3, 15), date(2016, 3, 18)


@pytest.mark.parametrize(
    ("ranges", "alone", "after_a_verb"),
    [
        ([(A, A)], "2016-03-15", "on 2016-03-15"),
        ([(A, B)], "2016-03-15 to 2016-03-18", "from 2016-03-15 to 2016-03-18"),
        ([(A, None)], "2016-03-15 onwards", "from 2016-03-15 onwards"),
        ([(None, B)], "until 2016-03-18", "until 2016-03-18"),
        ([(None, None)], "all dates", "all dates"),
        (
            [(A, A), (B, None)],
            "2016-03-15, 2016-03-18 onwards",
            "on 2016-03-15, 2016-03-18 onwards",
        ),
    ],
)
def test_ranges_of_dates_are_written_for_people_the_last_day_included(
    ranges: list[tuple[date | None, date | None]], alone: str, after_a_verb: str
) -> None:
    found = [DateRange(first, last) for first, last in ranges]
    assert (", ".join(map(str, found)), on_dates(found)) == (alone, after_a_verb)


def test_one_thing_is_singular_and_thousands_are_separated() -> None:
    assert [counted(n, "job") for n in (0, 1, 2, 1142)] == [
        "0 jobs",
        "1 job",
        "2 jobs",
        "1,142 jobs",
    ]


def status(positions: dict[str, int], **others: Any) -> Status:
    """A status in which nothing else is to be said."""
    nothing = {"reasons": [], "triggers_queued": 0, "jobs_deferred": 0, "dead_letters": 0}
    dates = {"first_watermark": A, "last_watermark": A, "horizon": B}
    dates |= {"first_hole": None, "last_hole": None, "frontier_of_holes": None}
    leader = {"term": 1, "holder": None, "heartbeat_age_seconds": None}
    leader |= {"counted_at": None, "read_at": None}
    return Status(positions, **{**nothing, **dates, **leader, **others})


def test_what_is_left_is_said_in_words() -> None:
    assert what_is_left(status({"CURRENT": 4})) == "nothing is left: every position is current"
    left = status(
        {"BEHIND": 1, "CURRENT": 1142, "FAILED": 1, "REPROCESSING": 2, "WAITING_FOR_DATA": 3},
        reasons=[("PRICE_MISSING", 3, "PRICE_MISSING A 2016-03-15")],
        triggers_queued=1,
        paused_at=datetime(2016, 3, 15, tzinfo=UTC),
    )
    assert what_is_left(left) == (
        "not every position is current: 1 position behind, 1 position failed, "
        "2 positions being reprocessed, 3 positions waiting for data; "
        "3 positions: PRICE_MISSING A 2016-03-15; 1 trigger queued; "
        "paused by an operator: `revalue resume` ends the pause"
    )


def test_calendars_of_which_nothing_is_opened_are_named_with_what_to_do() -> None:
    assert not_opened(status({"CURRENT": 4}, calendars_not_opened=("XLON", "XNYS"))) == (
        "nothing of calendars XLON, XNYS is opened, so their positions are not valued: "
        "`revalue open DATE` opens the business days up to a date"
    )


@pytest.mark.parametrize(
    ("horizon", "said"),
    [
        (None, ""),
        (date(2016, 3, 22), ""),
        (date(2016, 3, 14), ""),  # four days: the evening after a long weekend
        (date(2016, 3, 13), "the last opened business day is 5 days ago"),
    ],
)
def test_a_status_says_that_no_day_was_opened_for_long(horizon: date | None, said: str) -> None:
    """Everything is current then, because no later day is due."""
    now = datetime(2016, 3, 18, 20, 15, tzinfo=UTC)
    told = old_horizon(status({"CURRENT": 4}, horizon=horizon, read_at=now))
    assert told.partition(":")[0] == said


def test_an_empty_book_has_a_sentence_and_no_empty_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = {"first_watermark": None, "last_watermark": None, "horizon": None}
    now = datetime(2016, 3, 18, 20, 15, tzinfo=UTC)
    print_status(status({}, **nothing, counted_at=now, read_at=now))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "there are no positions: `revalue load positions FILE` loads them"
    assert second.startswith("no position is valued yet, horizon none; 0 triggers queued")


def test_reasons_have_names_for_programs() -> None:
    waiting = status({"WAITING_FOR_DATA": 3}, reasons=[("FX_MISSING", 3, "FX_MISSING USD/GBP")])
    assert as_dict(waiting)["reasons"] == [
        {"reason": "FX_MISSING", "positions": 3, "example": "FX_MISSING USD/GBP"}
    ]


def test_watermarks_are_said_in_words() -> None:
    current = status({"CURRENT": 4}, horizon=A)
    assert watermarks(current) == "all watermarks at 2016-03-15, horizon 2016-03-15"
    spread = status({"BEHIND": 4}, last_watermark=B)
    assert watermarks(spread) == "watermarks from 2016-03-15 to 2016-03-18, horizon 2016-03-18"
    begun = status({"BEHIND": 4}, first_watermark=None)
    assert watermarks(begun) == "watermarks from none to 2016-03-15, horizon 2016-03-18"
    new = status({"BEHIND": 4}, first_watermark=None, last_watermark=None, horizon=None)
    assert watermarks(new) == "no position is valued yet, horizon none"


def test_spans_are_called_spans(capsys: pytest.CaptureFixture[str]) -> None:
    """A job of a load covers many positions, each of which is a span of it."""
    out.print(describe_run(Run(2.0, 500, 5, 1, 0, 0, status({}), "local")))
    err.print(describe_progress("valuing", RunProgress(2.0, 500, 5, 1, 0, False, False, None)))
    printed = capsys.readouterr()
    assert printed.out == "500 position-days in 2.0 s (250/s), 5 spans, 1 position invalidated\n"
    assert "5 spans" in printed.err.split("  ")


@pytest.mark.parametrize(
    ("triggers", "positions", "line"),
    [
        ((), 0, "no valued position-day is affected"),
        ((7,), 1, "trigger 7: up to 1 position affected; run `revalue value`"),
        (
            tuple(range(1, 8)),
            1200,
            "triggers 1, 2, 3, 4, 5 and 2 more: up to 1,200 positions affected; "
            "run `revalue value`",
        ),
    ],
)
def test_a_corrected_file_says_what_it_can_affect(
    capsys: pytest.CaptureFixture[str], triggers: tuple[int, ...], positions: int, line: str
) -> None:
    print_correction(FileCorrection("prices", 3, 2, 1, triggers, positions))
    assert capsys.readouterr().out == f"3 rows of prices: 2 changed, 1 unchanged\n{line}\n"


def test_the_progress_of_a_load_has_its_speed_and_the_time_that_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    err.print(describe_load(LoadProgress("reading", 1_000_000, 0.25, 4.0)))
    err.print(describe_load(LoadProgress("checking", 0, None, 1.0)))
    reading, checking = capsys.readouterr().err.splitlines()
    cells = ["reading", "1,000,000 rows", "25%", "250,000 rows/s", "12 s left"]
    assert reading.split("  ") == cells
    assert checking.split() == ["checking", "0", "rows"]


def test_every_command_says_its_progress_in_the_same_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What, how much, percent, speed, time that is left."""
    now = RunProgress(4.0, 500, 5, 1, 2, False, False, None, position_days_left=1_500)
    err.print(describe_progress("valuing", now))
    err.print(describe_verify(4.0, 500, 0.25))
    err.print(describe_read(4.0, 500, A, 0.25))
    err.print(describe_migration(4.0, "0023", 2, 8))
    err.print(describe_export(4.0, ExportProgress(1, 4, 500)))
    valuing, verifying, reading, migrating, exporting = capsys.readouterr().err.splitlines()
    cells = ["valuing", "500 position-days", "25%", "125/s", "12 s left", "2 tasks in flight"]
    assert valuing.split("  ")[:6] == cells
    cells = ["exporting", "500 rows, 1 of 4 months", "25%", "125 rows/s", "12 s left"]
    assert exporting.split("  ") == cells
    assert verifying.split("  ") == ["verifying", "500 rows", "25%", "125 rows/s", "12 s left"]
    read = ["reading", f"500 position-days, up to {A}", "25%", "125/s", "12 s left"]
    assert reading.split("  ") == read
    assert migrating.split("  ") == [
        "migrating",
        "at revision 0023, 2 of 8 migrations",
        "25%",
        "4 s",
    ]


def test_a_run_whose_end_is_not_known_has_no_percentage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    err.print(describe_progress("valuing", RunProgress(2.0, 500, 5, 1, 2, False, False, None)))
    printed = capsys.readouterr().err
    assert "%" not in printed
    assert "left" not in printed
    assert "250/s" in printed


@pytest.mark.parametrize(
    ("seconds", "left"),
    [(1, "1 s left"), (119, "119 s left"), (120, "2 min left"), (7_200, "2 h 0 min left")],
)
def test_the_time_that_is_left_is_said_as_people_say_it(
    seconds: int, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    err.print(describe("valuing", fraction=0.5, seconds=seconds))
    assert capsys.readouterr().err.splitlines()[0].split("  ")[-1] == left
