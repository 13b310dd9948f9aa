"""An input that is read and parsed in batches."""

from collections.abc import Iterator

import polars as pl

from revalue.engine.correct.inputs.future_dates import FutureDates
from revalue.engine.correct.inputs.kinds import COLUMNS, Kind
from revalue.engine.correct.inputs.parsing import parse_columns
from revalue.engine.correct.inputs.problems import Problems
from revalue.engine.correct.inputs.rules import rule_problems
from revalue.engine.correct.inputs.sources import Source
from revalue.engine.correct.loads.load_progress import Progress


class Batches:
    """Reads and parses an input in batches.

    Attributes:
        rows: how many rows were read.
        problems: the rules that they break, of those that need no other rows.
        future_dates: those whose date is in the future.
    """

    def __init__(self, kind: Kind, source: Source, progress: Progress) -> None:
        """Begin before the first batch.

        Args:
            kind: what the input is.
            source: where it is read.
            progress: is told how far it is read.
        """
        self._kind = kind
        self._source = source
        self._progress = progress
        self.rows = 0
        self.problems = Problems()
        self.future_dates = FutureDates(kind)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Yield the typed columns, with the number of each row in the input."""
        self._progress.next("reading", self._source.size)
        for given, read_so_far in self._source.batches():
            frame, problems = parse_columns(given, COLUMNS[self._kind])
            self.problems.add(problems, self.rows)
            self.problems.add(rule_problems(self._kind, given, frame), self.rows)
            self.future_dates.note(frame)
            yield frame.select(
                pl.int_range(self.rows, self.rows + len(frame), dtype=pl.Int64).alias("row_no"),
                pl.all(),
            )
            self.rows += len(frame)
            self._progress.at(read_so_far, self.rows)
