"""What a file is that is neither CSV nor the Parquet that its name says: the message names it."""

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import orc

from revalue.engine.correct.inputs.sources import CsvSource, from_csv, from_parquet, read
from revalue.engine.errors import InvalidInputError

FRAME = pl.DataFrame({"security_id": ["A", "B"], "price": ["1.5", "2"]})
CSV = FRAME.write_csv().encode()
TABLE = FRAME.to_arrow().cast(pa.schema([("security_id", pa.string()), ("price", pa.string())]))


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    content = io.BytesIO()
    write(content)
    return content.getvalue()


def zipped(name: str) -> bytes:
    def write(content: io.BytesIO) -> None:
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
            archive.writestr(name, CSV)

    return written(write)


def in_tar() -> bytes:
    def write(content: io.BytesIO) -> None:
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("prices.csv"))

    return written(write)


def of_sqlite(tmp_path: Path) -> bytes:
    with sqlite3.connect(tmp_path / "prices.db") as connection:
        connection.execute("CREATE TABLE prices (price)")
    return (tmp_path / "prices.db").read_bytes()


PARQUET = written(FRAME.write_parquet)
OTHERS = {
    "a Feather or Arrow file": written(FRAME.write_ipc),
    "a Feather file": b"FEA1" + bytes(60) + b"FEA1",
    "an ORC file": written(lambda content: orc.write_table(TABLE, content)),
    "an Avro file": written(FRAME.write_avro),
    "a workbook of Excel": zipped("xl/workbook.xml"),
    "a ZIP archive": zipped("prices.csv"),
    "an Excel file (.xls)": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "a tar archive": in_tar(),
    "compressed by bzip2": bz2.compress(CSV),
    "compressed by xz": lzma.compress(CSV),
    "compressed by zlib": zlib.compress(CSV),
    "compressed by zstd": bytes(pa.compress(CSV, "zstd")),
    "an HTML page": b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_type_is_named_whatever_its_name_says(tmp_path: Path, name: str) -> None:
    content = OTHERS[name]
    for suffix, packed in (("csv", False), ("csv.gz", True), ("parquet", False)):
        path = tmp_path / f"prices.{suffix}"
        path.write_bytes(gzip.compress(content) if packed else content)
        with pytest.raises(InvalidInputError) as refused:
            read(path)
        assert f"{path} cannot be read: it is {name}" in str(refused.value)
        assert ("gzip has packed" in str(refused.value)) is packed
    for given in (lambda: from_csv(content, "it"), lambda: from_parquet(io.BytesIO(content), "it")):
        with pytest.raises(InvalidInputError) as refused:
            given()
        assert f"it cannot be read: it is {name}" in str(refused.value)


def test_a_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="it is a database of SQLite, and not CSV"):
        from_csv(of_sqlite(tmp_path), "it")


def test_parquet_that_is_named_or_packed_as_csv_is_not_taken_for_text(tmp_path: Path) -> None:
    csv, packed, text = (tmp_path / f"prices.{each}" for each in ("csv", "csv.gz", "txt.gz"))
    csv.write_bytes(PARQUET)
    packed.write_bytes(gzip.compress(PARQUET))
    text.write_bytes(gzip.compress(PARQUET))
    with pytest.raises(InvalidInputError, match=r"it is a Parquet file, and not CSV\. The suffix"):
        read(csv)
    for path, open_it in ((packed, read), (text, CsvSource)):
        with pytest.raises(InvalidInputError, match="a Parquet file that gzip has packed"):
            open_it(path)
    with pytest.raises(InvalidInputError, match="it is a Parquet file, and not CSV"):
        from_csv(PARQUET, "the body")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (CSV, "it is text, and not Parquet: it begins with security_id,price"),
        (gzip.compress(CSV), "it is compressed, and not Parquet"),
        (b"", "it is empty, and not Parquet"),
        (b"\x01\x02\x03\x04", "it does not begin as Parquet does"),
    ],
)
def test_what_is_named_as_parquet_and_is_not_is_named(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "prices.parquet"
    path.write_bytes(content)
    for given in (lambda: read(path), lambda: from_parquet(io.BytesIO(content), "the body")):
        with pytest.raises(InvalidInputError, match=words):
            given()


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_of_no_known_type_are_not_taken_for_windows_1252(
    tmp_path: Path, packed: bool
) -> None:
    path = tmp_path / f"prices.csv{'.gz' if packed else ''}"
    content = CSV + b"C\x81\x00\x02,3\n"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InvalidInputError, match=r"it is not text: line 4 .* the byte 0x00"):
        list(read(path).batches())


@pytest.mark.parametrize("first", ["PK,price", "BZh9,price", "ORC,price", "7z,price", "x,price"])
def test_a_table_whose_header_begins_like_a_name_of_a_type_is_a_table(first: str) -> None:
    assert from_csv(f"{first}\nA,1\n".encode(), "it").columns == first.split(",")
