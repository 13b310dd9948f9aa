"""The record of loads, and how to take a load back."""

from collections.abc import Sequence
from dataclasses import replace as with_changes

from revalue.engine.argument_types import require_limit
from revalue.engine.book.open_database import Part
from revalue.engine.correct.inputs.kinds import Kind, known_kind
from revalue.engine.correct.loads.recorded import Load, list_loads
from revalue.engine.correct.reverts.reverts import Revert, log_revert, revert
from revalue.engine.postgres.open_transaction import rolled_back

MAX_LIMIT = 100_000
"""So many loads can be listed at once."""


class Loads(Part):
    """`Book.loads`: the record of loads, and how to take a load back."""

    def list(self, kind: Kind | str | None = None, *, limit: int = 20) -> Sequence[Load]:
        """Return the records of the newest loads, the newest first.

        Args:
            kind: only loads of this kind. None: all.
            limit: how many, at most; from 1 to 100,000.

        Returns:
            For each load its number, who loaded which file and when, and what became of its rows.

        Raises:
            UsageError: there is no such kind, or no such limit.
        """
        named = None if kind is None else known_kind(kind)
        require_limit("limit", limit, MAX_LIMIT)
        return self._wait(list_loads(self._database, kind=named, most=limit))

    def revert(self, load_id: int, *, keep_later: bool = False, dry_run: bool = False) -> Revert:
        """Take a load back: what it has replaced is restored, and what it has added is deleted.

        That is a correction, which `Book.value` restates, and a load of its own, which can be taken
        back, too.

        Args:
            load_id: the number of a load of prices, fx_rates or positions (see `list`).
            keep_later: leave rows that were changed after the load as they are, and take the others
                back. Without it they are an error.
            dry_run: only find out what would be done, and write nothing.

        Raises:
            NotFoundError: no such load is recorded.
            UsageError: it cannot be taken back: it is of another kind, or has changed nothing.
            CorrectionRefusedError: rows were changed since, and `keep_later` is not set.
            TransientError: the database is unavailable or busy.
        """
        return self._wait(self._revert(load_id, keep_later=keep_later, dry_run=dry_run))

    async def _revert(self, load_id: int, *, keep_later: bool, dry_run: bool) -> Revert:
        if dry_run:
            async with rolled_back(self._database) as inside:
                done = await revert(inside, load_id, keep_later=keep_later)
                return with_changes(done, load_id=None)
        done = await revert(self._database, load_id, keep_later=keep_later)
        log_revert(done)
        return done
