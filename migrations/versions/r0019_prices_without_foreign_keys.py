"""Check the security and currency of prices once per statement, and not once per row.

The database trigger of inserted and changed prices stores each pair of a security and a quotation
currency in security_quote_currencies, whose foreign keys refuse unknown ones; nothing takes a pair
away, so a security or a currency that has prices cannot be deleted. The foreign keys of
market_prices said the same again, for every row: 70 % of the time of a load.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE market_prices DROP CONSTRAINT market_prices_security_id_fkey, "
        "DROP CONSTRAINT market_prices_currency_fkey"
    )


def downgrade() -> None:
    op.execute(
        "ALTER TABLE market_prices "
        "ADD CONSTRAINT market_prices_security_id_fkey FOREIGN KEY (security_id) "
        "REFERENCES instruments, "
        "ADD CONSTRAINT market_prices_currency_fkey FOREIGN KEY (currency) REFERENCES currencies"
    )
