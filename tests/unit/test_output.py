"""Tables of the command line, as a file or a pipe gets them."""

import pytest

from revalue.console.cli.output import print_table, tidy


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
