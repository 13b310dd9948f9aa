"""Sort rows that need not fit into memory: sorted runs in temporary files, which are then merged.

The client sorts and not the database: it then sends rows in the order of the table's key, straight
into the table, where the database would write and read them twice before.
"""

import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, cast

import polars as pl
import pyarrow as pa

from revalue.engine.errors import UsageError

RUN_ROWS = 200_000
"""How many rows are sorted at a time; a longer input goes through temporary files."""

FRAME_ROWS = 50_000
"""How many rows are given back at a time."""

_BATCH_ROWS = 8_192  # of each run so much is in memory while they are merged

Key = tuple[tuple[bool, Any], ...]


class SortedRows:
    """Rows in the order of a key; rows of the same key in the order in which they were added.

    Attributes:
        rows: how many were added.
    """

    def __init__(self, key: tuple[str, ...]) -> None:
        """Begin with no rows.

        Args:
            key: the columns of the key, texts and dates. NULL comes first.
        """
        self._key = key
        self._kept: list[pl.DataFrame] = []
        self._kept_rows = 0
        self._files: list[BinaryIO] = []
        self._open = ExitStack()
        self.rows = 0

    def __enter__(self) -> "SortedRows":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows. All frames have the same columns.

        Raises:
            UsageError: there is no room for temporary files.
        """
        self._kept.append(frame)
        self._kept_rows += len(frame)
        self.rows += len(frame)
        if self._kept_rows >= RUN_ROWS:
            self._spill()

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in the order of the key, about FRAME_ROWS at a time.

        The column `is_repeated` is true where a row before has the same key, without NULL in it.
        It can be called again, from the beginning, when nothing is added any more.
        """
        last: pl.DataFrame | None = None
        for frame in in_frames(self._merged(), FRAME_ROWS):
            keys = frame.select(self._key)
            before = pl.concat([keys[:1].clear(1) if last is None else last, keys[:-1]])
            is_repeated = pl.all_horizontal(
                keys[name].eq(before[name]).fill_null(False) for name in self._key
            )
            # In one chunk: polars 2.1 panics in expressions on columns of different chunks.
            yield frame.with_columns(is_repeated.alias("is_repeated")).rechunk()
            last = keys[-1:]

    def _sorted(self) -> pl.DataFrame:
        frame = pl.concat(self._kept).sort(self._key, maintain_order=True)
        self._kept, self._kept_rows = [], 0
        return frame

    def _spill(self) -> None:
        """Write the rows that are in memory to a file, which is gone when it is closed."""
        table = self._sorted().to_arrow(compat_level=pl.CompatLevel.oldest())
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        try:
            file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115
            self._open.callback(file.close)
            with pa.ipc.new_stream(file, table.schema, options=options) as writer:
                writer.write_table(table, _BATCH_ROWS)
        except OSError as error:
            raise UsageError(
                f"the folder for temporary files cannot be written ({error.strerror or error}): "
                f"rows are sorted in {tempfile.gettempdir()}. Set TMPDIR to a folder with room"
            ) from error
        self._files.append(file)

    def _merged(self) -> Iterator[pl.DataFrame]:
        if self._kept:
            self._kept = [self._sorted()]
            self._kept_rows = len(self._kept[0])
        runs = [_Run(_read(file), self._key) for file in self._files]
        runs += [_Run(iter([frame]), self._key) for frame in self._kept]
        while runs := [run for run in runs if run.is_filled()]:
            if len(runs) == 1:
                yield runs[0].take(None)
                continue
            # Up to here no run has rows that are not in memory.
            bound = min(run.last_key() for run in runs)
            yield pl.concat([run.take(bound) for run in runs]).sort(self._key, maintain_order=True)


class _Run:
    """Sorted rows in a file; one batch of them is in memory."""

    def __init__(self, batches: Iterator[pl.DataFrame], key: tuple[str, ...]) -> None:
        self._batches = batches
        self._key = key
        self._batch: pl.DataFrame | None = None

    def is_filled(self) -> bool:
        """Read the next batch if none is in memory; return whether there is one."""
        while self._batch is None or not len(self._batch):
            self._batch = next(self._batches, None)
            if self._batch is None:
                return False
        return True

    def last_key(self) -> Key:
        assert self._batch is not None
        return self._key_of(len(self._batch) - 1)

    def take(self, bound: Key | None) -> pl.DataFrame:
        """Take the rows of the batch whose key is not after the bound; None: all."""
        batch = self._batch
        assert batch is not None
        count = (
            len(batch)
            if bound is None
            else bisect_right(range(len(batch)), bound, key=self._key_of)
        )
        self._batch = batch[count:]
        return batch[:count]

    def _key_of(self, row: int) -> Key:
        assert self._batch is not None
        cells = (self._batch[name][row] for name in self._key)
        return tuple((cell is not None, cell) for cell in cells)


def _read(file: BinaryIO) -> Iterator[pl.DataFrame]:
    file.seek(0)
    for batch in pa.ipc.open_stream(file):
        yield pl.DataFrame(pl.from_arrow(batch))


def in_frames(
    frames: Iterable[pl.DataFrame], rows: int, whole: tuple[str, ...] = ()
) -> Iterator[pl.DataFrame]:
    """Join small frames into frames of at least `rows` rows, except for the last one.

    Args:
        frames: what to join.
        rows: how many rows a frame has at least.
        whole: rows that are equal in these columns, which are neighbours, stay in one frame.
    """
    kept: list[pl.DataFrame] = []
    count = 0
    for frame in frames:
        kept.append(frame)
        count += len(frame)
        if count < rows:
            continue
        joined = pl.concat(kept, rechunk=True)
        end = len(joined)
        if whole:
            last = joined[whole[0]].len() - 1
            is_last = pl.all_horizontal(
                joined[name].eq_missing(joined[name][last]) for name in whole
            )
            end -= int(joined.select(is_last.sum()).item())
        if end:
            yield joined[:end]
        kept, count = [joined[end:]], len(joined) - end
    if count:
        yield pl.concat(kept, rechunk=True)
