"""Rows are sorted through temporary files; a row whose key was there before is marked."""

import random
import tempfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from revalue.engine.correct.inputs import sorted_rows
from revalue.engine.correct.inputs.sorted_rows import SortedRows, in_frames
from revalue.engine.errors import UsageError

Row = tuple[int, str | None, date | None]

SCHEMA = {"row_no": pl.Int64, "name": pl.String, "day": pl.Date}
TEXTS = [None, "a", "b", "é", "\uffff", "\U0001f600"]
DAYS = [None, *(date(2024, 1, day) for day in range(1, 6))]


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorted_rows, "RUN_ROWS", 7)
    monkeypatch.setattr(sorted_rows, "FRAME_ROWS", 5)
    monkeypatch.setattr(sorted_rows, "_BATCH_ROWS", 3)


def place(row: Row) -> tuple[object, ...]:
    """What PostgreSQL's C collation sorts by; NULL first."""
    _, name, day = row
    return name is not None, (name or "").encode(), day is not None, day or date.min


@pytest.mark.usefixtures("small_runs")
@pytest.mark.parametrize("seed", range(30))
def test_rows_come_in_the_order_of_their_keys_with_those_that_repeat_one(seed: int) -> None:
    chosen = random.Random(seed)
    rows: list[Row] = [
        (number, chosen.choice(TEXTS), chosen.choice(DAYS))
        for number in range(chosen.randrange(60))
    ]
    keys = [row[1:] for row in rows]
    repeated = {row[0] for row in rows if None not in row and row[1:] in keys[: row[0]]}
    with SortedRows(("name", "day")) as given:
        for begin in range(0, len(rows), 4):
            given.add(pl.DataFrame(rows[begin : begin + 4], schema=SCHEMA, orient="row"))
        assert given.rows == len(rows)
        for _ in range(2):  # it can be read again
            frames = list(given.frames())
            # Expressions on columns that are chunked differently make polars panic.
            assert all(set(frame.n_chunks("all")) == {1} for frame in frames)
            assert all(set(each.n_chunks("all")) == {1} for each in in_frames(frames, 7))
            found = [row for frame in frames for row in frame.rows()]
            assert sorted(row[0] for row in found) == list(range(len(rows)))
            assert [row[1:3] for row in found] == [row[1:] for row in sorted(rows, key=place)]
            assert {row[0] for row in found if row[3]} == repeated


@pytest.mark.usefixtures("small_runs")
def test_no_room_for_temporary_files_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    rows = [(number, "a", None) for number in range(8)]
    with (
        SortedRows(("name", "day")) as given,
        pytest.raises(UsageError, match=r"No such file.*absent\. Set TMPDIR"),
    ):
        given.add(pl.DataFrame(rows, schema=SCHEMA, orient="row"))


def test_small_frames_are_joined_and_neighbours_are_kept_together() -> None:
    names = ["a", "b", "b", "c", "c", "c", "c", "d"]
    frames = [pl.DataFrame({"name": [name]}) for name in names]
    assert [frame["name"].to_list() for frame in in_frames(frames, 3)] == [
        ["a", "b", "b"],
        ["c", "c", "c"],
        ["c", "d"],
    ]
    assert [frame["name"].to_list() for frame in in_frames(frames, 3, ("name",))] == [
        ["a"],
        ["b", "b"],
        ["c", "c", "c", "c"],
        ["d"],
    ]
