"""Record or refuse the writes that no database trigger saw; quotation units of any power of ten.

The valuation policy could be deleted and inserted anew, a quotation unit could get another value,
position records could be written by hand: positions were called CURRENT with numbers that were
wrong. Logical replication, and sessions with session_replication_role = replica, fire none of the
database triggers that record corrections. Each is a correction now, or refused.

Two checks of what cannot be corrected looked by an old snapshot, or beside a concurrent
transaction that they did not wait for (on_instrument_update, on_portfolio_update).
"""

from alembic import op

from revalue.migrations import objects

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

CHANGED = ("on_instrument_update", "on_portfolio_update", "refuse_truncate", "stamp_moment")
ADDED = ("on_currency_change", "on_policy_change", "refuse_replica_write", "refuse_write")
TABLES = (
    "business_dates",
    "fx_rates",
    "instruments",
    "market_prices",
    "portfolios",
    "position_history",
    "valuation_policy",
)
ADDED_TABLES = ("calendars", "currencies", "security_quote_currencies")
POWERS = ", ".join(str(10**n) for n in range(10))

UNITS_IN_THE_WAY = f"""
    DO $$
    DECLARE
        found text;
    BEGIN
        SELECT string_agg(format('%s is 1/%s %s', currency, units_per_major, major_currency), ', ')
        INTO found
        FROM currencies
        WHERE units_per_major NOT IN ({POWERS});
        IF found IS NOT NULL THEN
            RAISE EXCEPTION 'quotation units are in the way of the migration to 0011: %', found
                USING ERRCODE = 'restrict_violation',
                      HINT = 'A unit is a power of ten of its currency. '
                             'Quote the prices in the currency itself, and delete the unit.';
        END IF;
    END $$
"""


def upgrade() -> None:
    op.execute(UNITS_IN_THE_WAY)
    op.execute(
        f"ALTER TABLE currencies ADD CONSTRAINT units_per_major_is_a_power_of_ten "
        f"CHECK (units_per_major IN ({POWERS}))"
    )
    op.execute("DROP TRIGGER policy_updated ON valuation_policy")
    op.execute("DROP FUNCTION on_policy_update")
    objects.apply(
        "0011",
        *(f"functions/{name}" for name in (*CHANGED, *ADDED)),
        *(f"triggers/{name}" for name in (*TABLES, *ADDED_TABLES)),
    )


def downgrade() -> None:
    # CASCADE drops their triggers; those that 0010 has are created again.
    op.execute(f"DROP FUNCTION {', '.join((*ADDED, 'refuse_truncate'))} CASCADE")
    op.execute("ALTER TABLE currencies DROP CONSTRAINT units_per_major_is_a_power_of_ten")
    objects.apply(
        "0010",
        *(f"functions/{name}" for name in (*CHANGED, "on_policy_update")),
        *(f"triggers/{name}" for name in TABLES),
    )
