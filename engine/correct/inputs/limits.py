"""How large a file from somebody else may be when it is unpacked."""

from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from revalue.engine.errors import InvalidInputError


@dataclass(frozen=True)
class Limits:
    """How large a file from somebody else may be when it is unpacked.

    A Parquet file of a few kilobytes can hold billions of equal rows, or one cell of a gigabyte.

    Attributes:
        rows: number of rows, at most; also of values in a column, which are more than rows if it
            has lists.
        columns: number of columns, at most.
        cells: number of rows times columns, at most.
        uncompressed_bytes: size of the columns of a Parquet file before compression, at most.
    """

    rows: int
    columns: int
    cells: int
    uncompressed_bytes: int

    def require_parquet(self, content: BytesIO, place: str) -> None:
        """Check a Parquet file by what its footer says.

        Raises:
            InvalidInputError: it is too large, or no Parquet.
        """
        try:
            footer = pq.read_metadata(content)
        except (pa.ArrowException, OSError) as error:
            raise InvalidInputError(f"{place} cannot be read: {error}") from error
        content.seek(0)
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        rows = sum(group.num_rows for group in groups)
        self._require(place, "rows", rows, self.rows)
        self._require_shape(place, rows, footer.num_columns)
        chunks = [
            [group.column(number) for group in groups] for number in range(footer.num_columns)
        ]
        values = max((sum(chunk.num_values for chunk in each) for each in chunks), default=0)
        self._require(place, "values in a column", values, self.rows)
        size = sum(chunk.total_uncompressed_size for each in chunks for chunk in each)
        self._require(place, "bytes uncompressed", size, self.uncompressed_bytes)

    def require_csv(self, content: bytes, place: str) -> None:
        """Check the content of a CSV file.

        Raises:
            InvalidInputError: it is too large.
        """
        self._require(place, "lines", content.count(b"\n"), self.rows + 1)
        lines = content.split(b"\n")
        # Of all lines: a quoted line break can be in the header.
        self._require_shape(place, len(lines), max(line.count(b",") for line in lines) + 1)

    def _require_shape(self, place: str, rows: int, columns: int) -> None:
        self._require(place, "columns", columns, self.columns)
        self._require(place, "cells", rows * columns, self.cells)

    def _require(self, place: str, what: str, found: int, most: int) -> None:
        if found > most:
            raise InvalidInputError(
                f"{place} is too large: {found:,} {what}, of {most:,} at most. Send it in parts"
            )
