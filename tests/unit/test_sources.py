"""Inputs are read in batches: the same rows as in one piece, whatever the size of a batch."""

import io
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from revalue.engine.correct import csv_blocks, sources
from revalue.engine.correct.problems import InputProblem, ProblemKind, Problems
from revalue.engine.correct.sources import from_csv, read
from revalue.engine.errors import InvalidInputError

CELLS = ("a", "", "1.5", '"q"', '"x,y"', '"two\nlines"', '"a ""quoted"" word"', '"\r\n"', "Ä")


def csv_text(draw: random.Random) -> str:
    """A file of three columns, with whatever CSV allows."""
    end = draw.choice(("\n", "\r\n"))
    rows = ['a,"b",c', *(",".join(draw.choices(CELLS, k=3)) for _ in range(draw.randrange(12)))]
    if draw.random() < 0.3:
        rows.insert(draw.randrange(1, len(rows) + 1), "")
    text = draw.choice(("", "\ufeff")) + end.join(rows)
    return text + draw.choice((end, ""))


@pytest.mark.parametrize("seed", range(40))
def test_a_csv_file_in_blocks_has_the_rows_and_the_numbering_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    path = tmp_path / "input.csv"
    path.write_bytes(csv_text(draw).encode())
    whole = from_csv(path.read_bytes(), "the content")
    for size in (1, 7, 20, 1_000):
        monkeypatch.setattr(sources, "BLOCK_BYTES", size)
        given = read(path)
        assert given.columns == whole.columns
        for _ in range(2):  # it can be read again
            batches = list(given.batches())
            assert pl.concat(frame for frame, _ in batches).equals(whole.frame)
            assert batches[-1][1] == given.size == path.stat().st_size
            assert given.numbering() == whole.numbering()


def test_a_row_that_does_not_end_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BLOCK_BYTES", 20)
    monkeypatch.setattr(csv_blocks, "_LONGEST_ROW_BYTES", 100)
    path = tmp_path / "input.csv"
    path.write_text("a,b\n1,2\n" + '3,"4\n' + "5,6\n" * 100)
    with pytest.raises(InvalidInputError, match="from line 3 on a row does not end within"):
        list(read(path).batches())


def test_a_parquet_file_a_table_and_a_frame_have_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "BATCH_ROWS", 4)
    frame = pl.DataFrame({"n": range(10), "text": [str(n) for n in range(10)]})
    path = tmp_path / "input.parquet"
    pq.write_table(frame.to_arrow(), path, row_group_size=7)
    for source in (path, frame.to_arrow(), frame):
        given = read(source)
        batches = list(given.batches())
        assert (given.columns, given.size) == (["n", "text"], 10)
        assert pl.concat(rows for rows, _ in batches).equals(frame)
        assert max(len(rows) for rows, _ in batches) <= 4
        assert batches[-1][1] == 10


def test_an_input_without_rows_has_one_batch_with_its_columns(tmp_path: Path) -> None:
    empty = pa.table({"n": pa.array([], pa.int64())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    (tmp_path / "empty.csv").write_text("n\n")
    for source in (tmp_path / "empty.parquet", tmp_path / "empty.csv", empty):
        [(frame, read_so_far)] = read(source).batches()
        assert (frame.columns, len(frame)) == (["n"], 0)
        assert read_so_far == read(source).size


def test_a_broken_parquet_file_is_unreadable(tmp_path: Path) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": list(range(100_000))}), sink, compression="none")
    content = bytearray(sink.getvalue())
    content[4:4_000] = b"\xff" * 3_996
    (tmp_path / "input.parquet").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"input\.parquet cannot be read"):
        list(read(tmp_path / "input.parquet").batches())


def test_a_rule_that_several_batches_break_is_one_problem() -> None:
    def broken(count: int, *rows: int) -> InputProblem:
        shown = tuple((number, "x") for number in rows)
        return InputProblem(ProblemKind.EMPTY, "price", count, "missing value", shown)

    other = InputProblem(ProblemKind.NOT_A_NUMBER, "price", 0, "not a number")
    problems = Problems()
    problems.add([other, broken(1, 3)], 0)
    problems.add([InputProblem(other.kind, "price", 1, other.hint, ((0, "y"),)), broken(0)], 10)
    problems.add([other, broken(6, 0, 1, 2, 3, 4)], 20)
    assert problems.listed(2) == [
        InputProblem(ProblemKind.NOT_A_NUMBER, "price", 1, "not a number", ((12, "y"),)),
        broken(7, 5, 22, 23, 24, 25),
    ]
