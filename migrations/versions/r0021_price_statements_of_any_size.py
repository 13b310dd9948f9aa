"""Record the correction that a statement of prices or rates is in time linear in its rows.

The database triggers gathered all rows of a statement in one array: some 60 million rows exceeded
what PostgreSQL can allocate. They also read and ordered every price that is stored between the
first and the last changed one of a security: half of the time of a load.
"""

from alembic import op

from revalue.migrations import objects

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

RECORDING = ("functions/record_price_correction", "functions/record_fx_correction")
FUNCTIONS = (
    "functions/on_prices_inserted",
    "functions/on_prices_updated",
    "functions/on_prices_deleted",
    "functions/on_rates_inserted_or_deleted",
    "functions/on_rates_updated",
)


def upgrade() -> None:
    _replace(revision)


def downgrade() -> None:
    _replace(down_revision)


def _replace(to: str) -> None:
    """Replace the functions by those of a revision: the recording ones have other arguments."""
    op.execute("DROP FUNCTION record_price_correction, record_fx_correction")
    objects.apply(to, *RECORDING, *FUNCTIONS)
