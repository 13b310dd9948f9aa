"""Inputs are read in batches: the same rows as in one piece, whatever the size of a batch."""

import gzip
import io
import random
import subprocess
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from revalue.engine.correct.inputs import csv_blocks, sources, unpacked
from revalue.engine.correct.inputs.parsing import Column, parse_columns
from revalue.engine.correct.inputs.problems import InputProblem, ProblemKind, Problems
from revalue.engine.correct.inputs.sources import Numbering, Source, from_csv, from_parquet, read
from revalue.engine.errors import InvalidInputError

CELLS = ("a", "", "1.5", '"q"', '"x,y"', '"two\nlines"', '"a ""quoted"" word"', '"\r\n"', "Ä")


def csv_text(draw: random.Random) -> str:
    """A file of three columns, with whatever CSV allows, and at times with what it does not."""
    end = draw.choice(("\n", "\r\n"))
    rows = ['a,"b",c', *(",".join(draw.choices(CELLS, k=3)) for _ in range(draw.randrange(12)))]
    if draw.random() < 0.3:
        rows.insert(draw.randrange(1, len(rows) + 1), draw.choice(("", "1,2", "1,2,3,4", "1")))
    text = draw.choice(("", "\ufeff")) + end.join(rows)
    return text + draw.choice((end, "", 3 * end, f"{end},,{end}"))


def read_in_one(content: bytes) -> tuple[pl.DataFrame, Numbering] | str:
    """The rows of a file; or the first line at fault, and why."""
    try:
        given = from_csv(content, "the content")
    except InvalidInputError as error:
        return str(error).splitlines()[1]
    return given.frame, given.numbering()


def read_in_blocks(given: Source) -> tuple[pl.DataFrame, Numbering] | str:
    try:
        batches = list(given.batches())
    except InvalidInputError as error:
        return str(error).splitlines()[1]
    assert batches[-1][1] <= given.size
    return pl.concat(frame for frame, _ in batches), given.numbering()


@pytest.mark.parametrize("seed", range(40))
def test_a_csv_file_in_blocks_has_the_rows_and_the_numbering_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    draw = random.Random(seed)
    path = tmp_path / "input.csv"
    text = csv_text(draw)
    path.write_bytes(text.encode())
    packed = tmp_path / "input.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    whole = read_in_one(path.read_bytes())
    for size in (1, 7, 20, 1_000):
        monkeypatch.setattr(sources, "BLOCK_BYTES", size)
        for file in (path, packed):
            given = read(file)
            assert given.columns == ["a", "b", "c"]
            for _ in range(2):  # it can be read again
                found = read_in_blocks(given)
                if isinstance(whole, str) or isinstance(found, str):
                    assert found == whole
                else:
                    assert found[0].equals(whole[0])
                    assert found[1] == whole[1]
            # Lines without a value at the end are not waited for.
            if file == path and not isinstance(whole, str) and text.split("\n")[-1].strip(","):
                assert list(given.batches())[-1][1] == given.size == path.stat().st_size


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


HEADER, ROW = "security_id,price\n", "Müller,1.5\n"


@pytest.mark.parametrize(
    "content",
    [
        (HEADER + ROW).encode("cp1252"),
        (HEADER + ROW).encode("utf-16"),
        (HEADER + ROW).encode("utf-16-be"),
        (HEADER + ROW).encode("utf-32"),
        (HEADER + ROW).replace("\n", "\r").encode(),
        (HEADER + ROW).replace(",", ";").replace(".", ",").encode(),
        (HEADER + ROW).replace(",", "\t").encode(),
        (HEADER + ROW).replace(",", "|").encode(),
    ],
)
def test_the_command_that_a_message_gives_makes_a_file_that_can_be_read(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "the prices.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as refused:
        list(read(path).batches())
    command = str(refused.value).rpartition("onvert it: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    [(frame, _)] = read(tmp_path / command.rpartition("> ")[2]).batches()
    assert frame.rows() == [("Müller", "1.5")]


def test_a_packed_file_is_read_as_it_is_unpacked_and_no_more_of_it_than_data_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "prices.CSV.gz"
    path.write_bytes(gzip.compress((HEADER + ROW * 100_000).encode()))
    assert sum(len(frame) for frame, _ in read(path).batches()) == 100_000
    monkeypatch.setattr(unpacked, "_ALWAYS_BYTES", 1_000)
    monkeypatch.setattr(unpacked, "_MOST_TIMES", 10)
    with pytest.raises(InvalidInputError, match="more than 10 times its size"):
        list(read(path).batches())
    for content, message in (
        (path.read_bytes()[:-20], "cannot be unpacked: Compressed file ended"),
        (HEADER.encode(), "cannot be unpacked: Not a gzipped file"),
        (gzip.compress(gzip.compress(HEADER.encode())), "it is compressed, and not CSV"),
    ):
        path.write_bytes(content)
        monkeypatch.setattr(unpacked, "_ALWAYS_BYTES", 1 << 30)
        with pytest.raises(InvalidInputError, match=message):
            list(read(path).batches())


def test_wide_decimals_of_a_file_are_read_exactly(tmp_path: Path) -> None:
    wide = pa.array([Decimal("11.5"), Decimal("1e-10")], pa.decimal256(60, 20))
    pq.write_table(pa.table({"price": wide}), tmp_path / "prices.parquet")
    for given in (
        read(tmp_path / "prices.parquet"),
        from_parquet(io.BytesIO((tmp_path / "prices.parquet").read_bytes()), "the body"),
    ):
        [(frame, _)] = given.batches()
        values, problems = parse_columns(frame, (Column("price", "decimal"),))
        assert not any(problem.is_broken for problem in problems)
        assert values["price"].to_list() == [Decimal("11.5"), Decimal("1e-10")]
