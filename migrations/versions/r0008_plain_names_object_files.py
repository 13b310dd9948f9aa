"""Rename columns and a view in plain words; take functions and views from migrations/objects.

All renames are changes of the catalogue: no row is rewritten, and views and grants follow them. The
functions differ from those of 0007 in layout, in the text of their error messages and in the name
queued_positions. Triggers and most views are the same: their files give the definitions that are
there.

What readers see now and what they saw at a past time is one set of functions, instead of a view for
the present and the function keys_at for the past: publications_at, positions_at, snapshots_at,
business_dates_at and reprocessing_since. For them, position_status shows published_open_dates too,
and dated_snapshots has subqueries in place of joins.

portfolios.portfolio_no was read by nothing.
"""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

from alembic import op

from revalue.migrations import objects

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "business_dates_at",
    "check_position_numbers",
    "current_moment",
    "grant_revalue_roles",
    "merged_reach",
    "on_business_dates_inserted",
    "on_business_dates_removed",
    "on_instrument_update",
    "on_policy_update",
    "on_portfolio_update",
    "on_prices_deleted",
    "on_prices_inserted",
    "on_prices_updated",
    "on_rates_inserted_or_deleted",
    "on_rates_updated",
    "publications_at",
    "positions_at",
    "record_fx_correction",
    "record_price_correction",
    "refuse_renumbering",
    "refuse_truncate",
    "reprocessing_since",
    "revise_calendars",
    "round_half_even",
    "sees_committed_writes",
    "snapshots_at",
    "stamp_moment",
    "valid_api_token",
)
NEW_FUNCTIONS = (
    "positions_at",
    "publications_at",
    "snapshots_at",
    "business_dates_at",
    "reprocessing_since",
)
CHANGED_VIEWS = ("position_status", "dated_snapshots")


def upgrade() -> None:
    op.execute(
        "ALTER TABLE reprocessing_triggers RENAME COLUMN keys_raised TO positions_invalidated"
    )
    op.execute("ALTER TABLE fenced_attempts RENAME COLUMN jobs_given_up TO jobs_abandoned")
    op.execute("ALTER VIEW queued_keys RENAME TO queued_positions")
    op.execute("DROP FUNCTION keys_at")
    op.execute("ALTER TABLE portfolios DROP COLUMN portfolio_no")
    objects.apply("0008", *(f"views/{name}" for name in CHANGED_VIEWS))
    objects.apply("0008", *(f"functions/{name}" for name in FUNCTIONS))
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    op.execute(
        "ALTER TABLE portfolios ADD COLUMN portfolio_no integer GENERATED ALWAYS AS IDENTITY UNIQUE"
    )
    for name in NEW_FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}")
    op.execute("DROP VIEW position_status")  # a view cannot lose a column
    op.execute("ALTER VIEW queued_positions RENAME TO queued_keys")
    op.execute("ALTER TABLE fenced_attempts RENAME COLUMN jobs_abandoned TO jobs_given_up")
    op.execute(
        "ALTER TABLE reprocessing_triggers RENAME COLUMN positions_invalidated TO keys_raised"
    )
    for statement in inline_objects():
        op.execute(statement)
    op.execute("SELECT grant_revalue_roles()")


def inline_objects() -> list[str]:
    """Return the statements that replace every function and changed view by those of 0007.

    They are read from the migrations before this one, so that no second copy of them is needed:
    each is loaded apart from Alembic, with an `op` that only collects what it would execute.
    """
    executed: list[str] = []
    for path in sorted(Path(__file__).parent.glob("r000[1-7]_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        migration = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(migration)
        migration.op = SimpleNamespace(execute=executed.append)
        migration.upgrade()
    create = re.compile(rf"\s*CREATE (?=FUNCTION|VIEW (?:{'|'.join(CHANGED_VIEWS)}) )")
    return [
        create.sub("CREATE OR REPLACE ", statement)
        for statement in executed
        if create.match(statement)
    ]
