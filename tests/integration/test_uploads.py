"""Files that are small until they are unpacked: refused before they are, with little memory."""

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from revalue.engine.correct.inputs.sources import read
from revalue.engine.errors import InvalidInputError

PARSE = """
import sys
from io import BytesIO
from pathlib import Path
from revalue.console.web.corrections import BODY_LIMITS
from revalue.engine.correct.inputs.sources import from_csv, from_parquet
from revalue.engine.errors import InvalidInputError

def peak():
    [line] = [each for each in open("/proc/self/status") if each.startswith("VmHWM")]
    return int(line.split()[1]) // 1024

for name in sys.argv[1:]:
    content = Path(name).read_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
    begun = peak()
    try:
        if name.endswith(".csv"):
            told = len(from_csv(content, "the body", limits=BODY_LIMITS).frame)
        else:
            told = len(from_parquet(BytesIO(content), "the body", limits=BODY_LIMITS).frame)
    except InvalidInputError as error:
        told = error
    print(peak() - begun, told)
"""


def parquet(table: pa.Table, *, times: int = 1) -> bytes:
    """A file that holds a table so many times."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        for _ in range(times):
            writer.write_table(table)
    return sink.getvalue()


def rows(number: int, columns: int) -> pa.Table:
    """Rows that are all the same."""
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), number), ["A" * 20])
    return pa.table({f"c{place}": column for place in range(columns)})


def a_list(length: int) -> pa.Table:
    """One row that is a list."""
    values = pa.repeat(pa.scalar(1, pa.int64()), length)
    return pa.table({"c": pa.ListArray.from_arrays(pa.array([0, length], pa.int32()), values)})


BOMBS = {
    "rows.parquet": (lambda: parquet(rows(1_000_000, 5), times=3), "3,000,000 rows, of 1,000,000"),
    "cells.parquet": (lambda: parquet(rows(999_000, 20)), "19,980,000 cells, of 10,000,000"),
    "list.parquet": (lambda: parquet(a_list(5_000_000)), "5,000,000 values in a column, of 1,000"),
    "gzip.csv": (lambda: gzip.compress(b"a," * 50_000_000, 1), "it is compressed, and not CSV"),
    "commas.csv": (lambda: b"," * 3_000_000 + b"\n", "3,000,001 columns, of 100"),
    "header.csv": (lambda: b'"a\n"' + b"," * 3_000_000 + b"\n", "3,000,001 columns, of 100"),
    "short_lines.csv": (lambda: b"," * 70 + b"\n" + b"a\n" * 900_000, "cells, of 10,000,000"),
    "the_largest.parquet": (lambda: parquet(rows(1_000_000, 10)), "1000000"),
}


def test_files_that_are_small_only_while_they_are_packed_take_little_memory(tmp_path: Path) -> None:
    files = []
    for name, (make, _) in BOMBS.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(make())
        assert files[-1].stat().st_size < 8_000_000, name
    done = subprocess.run(
        [sys.executable, "-c", PARSE, *map(str, files)],
        check=True,
        stdout=subprocess.PIPE,
        timeout=120,
    )
    lines = done.stdout.decode().splitlines()
    for (name, (_, detail)), line in zip(BOMBS.items(), lines, strict=True):
        peak, _, told = line.partition(" ")
        assert detail in told, name
        assert int(peak) < 250, f"{name}: {peak} MiB"


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (gzip.compress(b"a," * 1_000_000), "it is compressed, and not CSV"),
        (b"," * 3_000_000, "3,000,000 columns are no table"),
        (b"," * 3_000_000 + b"\n", "3,000,001 columns are no table"),
    ],
)
def test_such_a_file_is_refused_on_the_command_line_too(
    tmp_path: Path, content: bytes, detail: str
) -> None:
    file = tmp_path / "prices.csv"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=rf"prices\.csv cannot be read: {detail}"):
        read(file)
