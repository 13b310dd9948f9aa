"""Keep what a load has replaced and added, so that it can be taken back.

Database triggers keep it, in the load's own transaction and with the rights of the owner: no role
can write what a revert would restore. A load of before has nothing that is kept.
"""

from alembic import op

from revalue.migrations import objects

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

# Up to a thousand rows of a load are one row here, or as many prices of one security as there are:
# the n-th elements of its arrays belong together, and an array of one element holds for all. What
# was there before the load is not is_new; what it left is.
TABLES = (
    """
    CREATE TABLE replaced_prices (
        moment_id    bigint NOT NULL,
        is_new       boolean NOT NULL,
        security_ids text[] NOT NULL,
        dates        date[] NOT NULL,
        prices       numeric[] NOT NULL,
        currencies   text[] NOT NULL,
        quote_bases  text[] NOT NULL
    )
    """,
    """
    CREATE TABLE replaced_rates (
        moment_id bigint NOT NULL,
        is_new    boolean NOT NULL,
        bases     text[] NOT NULL,
        quotes    text[] NOT NULL,
        dates     date[] NOT NULL,
        rates     numeric[] NOT NULL
    )
    """,
    """
    CREATE TABLE replaced_records (
        moment_id    bigint NOT NULL,
        is_new       boolean NOT NULL,
        position_ids bigint[] NOT NULL,
        dates        date[] NOT NULL,
        quantities   numeric[] NOT NULL,
        costs_local  numeric[] NOT NULL,
        costs        numeric[] NOT NULL
    )
    """,
)

ARGUMENTS = "text, text, text, bigint, bigint, bigint, bigint, bigint, bigint, bigint"

KEEPING = {
    "market_prices": ("prices_inserted_kept", "prices_deleted_kept", "prices_updated_kept"),
    "fx_rates": ("rates_inserted_kept", "rates_deleted_kept", "rates_updated_kept"),
    "position_history": ("records_begun_kept", "records_ended_kept", "records_deleted_kept"),
}


def upgrade() -> None:
    for table in TABLES:
        op.execute(table)
    for name in ("replaced_prices", "replaced_rates", "replaced_records"):
        op.execute(f"CREATE INDEX {name}_by_moment ON {name} (moment_id)")
    # To compress these takes more time than to write them, and gains little.
    op.execute(
        "ALTER TABLE replaced_prices "
        "ALTER dates SET STORAGE EXTERNAL, ALTER prices SET STORAGE EXTERNAL"
    )
    op.execute("ALTER TABLE loads ADD COLUMN moment_id bigint, ADD COLUMN reverts bigint")
    op.execute(f"DROP FUNCTION record_load({ARGUMENTS})")
    objects.apply(
        revision,
        "functions/keep_replaced_prices",
        "functions/keep_replaced_rates",
        "functions/keep_replaced_records",
        "triggers/market_prices",
        "triggers/fx_rates",
        "triggers/position_history",
        "functions/record_load",
        "functions/grant_revalue_roles",
    )
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    for table, triggers in KEEPING.items():
        for trigger in triggers:
            op.execute(f"DROP TRIGGER {trigger} ON {table}")
    op.execute("DROP FUNCTION keep_replaced_prices, keep_replaced_rates, keep_replaced_records")
    op.execute(f"DROP FUNCTION record_load({ARGUMENTS}, bigint)")
    op.execute("ALTER TABLE loads DROP COLUMN moment_id, DROP COLUMN reverts")
    op.execute("DROP TABLE replaced_prices, replaced_rates, replaced_records")
    objects.apply(
        down_revision,
        "triggers/market_prices",
        "triggers/fx_rates",
        "triggers/position_history",
        "functions/record_load",
        "functions/grant_revalue_roles",
    )
    op.execute("SELECT grant_revalue_roles()")
