"""Tables of the command line, as a file or a pipe gets them."""

from datetime import date

import pytest

from revalue.console.cli.correct import parse_dates
from revalue.console.cli.output import counted, format_ranges, on_dates, print_table, tidy


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
    assert (format_ranges(ranges), on_dates(ranges)) == (alone, after_a_verb)


def test_the_ranges_of_the_database_are_read() -> None:
    """REMOVE AT MERGE, with parse_dates."""
    assert parse_dates("{[2016-03-15,2016-03-16)}") == [(A, A)]
    assert parse_dates("{[2016-03-15,2016-03-19),[2016-03-20,)}") == [
        (A, B),
        (date(2016, 3, 20), None),
    ]
    assert parse_dates("{(,2016-03-19)}") == [(None, B)]
    assert parse_dates([(A, None)]) == [(A, None)]


def test_one_thing_is_singular_and_thousands_are_separated() -> None:
    assert [counted(n, "job") for n in (0, 1, 2, 1142)] == [
        "0 jobs",
        "1 job",
        "2 jobs",
        "1,142 jobs",
    ]
