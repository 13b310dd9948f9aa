"""Write frames into a workbook of Excel, for people: its numbers have 15 digits."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import IO, Any

import polars as pl

from revalue.engine.errors import UsageError

MAX_ROWS = 1_048_575
"""What a sheet holds below its header."""

_FIRST_DAY = date(1900, 3, 1)
"""Excel has no dates before 1900, and counts a day too many before this one: those are text."""

_WIDTH = 16  # characters of a column


@contextmanager
def excel_writer(
    file: IO[bytes], columns: Iterable[str]
) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Write one sheet, a row at a time: numbers as numbers, dates as dates, all else as text.

    A text is never a formula, whatever it begins with. Numbers are rounded to the 15 digits that
    Excel keeps.

    Raises:
        UsageError: xlsxwriter is not installed, or there are more rows than a sheet holds.
    """
    try:
        import xlsxwriter
        from xlsxwriter.exceptions import XlsxWriterException
    except ImportError:
        raise UsageError(
            "an .xlsx file needs the package xlsxwriter: pip install 'revalue[excel]'"
        ) from None
    names = list(columns)
    with (
        TemporaryDirectory() as temporary,
        _translated(XlsxWriterException),
        xlsxwriter.Workbook(file, {"constant_memory": True, "tmpdir": temporary}) as book,
    ):
        sheet = book.add_worksheet()
        bold = book.add_format({"bold": True})
        formats = {
            date: book.add_format({"num_format": "yyyy-mm-dd"}),
            Decimal: book.add_format({"num_format": "#,##0.00########"}),
        }
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, len(names) - 1, _WIDTH)
        for column, name in enumerate(names):
            sheet.write_string(0, column, name, bold)
        row_number = 0

        def put(column: int, value: Any) -> None:
            match value:
                case None:
                    pass
                case bool():
                    sheet.write_boolean(row_number, column, value)
                case int():
                    sheet.write_number(row_number, column, value)
                case Decimal():
                    sheet.write_number(row_number, column, float(value), formats[Decimal])
                case date() if type(value) is date and value >= _FIRST_DAY:
                    sheet.write_datetime(row_number, column, value, formats[date])
                case _:
                    sheet.write_string(row_number, column, str(value))

        def write(frame: pl.DataFrame) -> None:
            nonlocal row_number
            if row_number + len(frame) > MAX_ROWS:
                raise UsageError(
                    f"a sheet of Excel holds {MAX_ROWS:,} rows, and there are more: ask for fewer "
                    "dates, or write .parquet or .csv"
                )
            for row in frame.select(names).iter_rows():
                row_number += 1
                for column, value in enumerate(row):
                    put(column, value)

        yield write


@contextmanager
def _translated(kind: type[Exception]) -> Iterator[None]:
    """Raise UsageError for what the package cannot write, for example into a full folder."""
    try:
        yield
    except kind as error:
        raise UsageError(f"the workbook cannot be written: {error}") from error
