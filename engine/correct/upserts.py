"""Writes what was validated: from the temporary table `incoming` into the tables, set by set, and counts what changed."""

from dataclasses import dataclass

from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)

_MANY_POSITIONS = (
    1_000  # so many new keys at once make the planner's statistics of position_state wrong
)


@dataclass(frozen=True)
class Reference:
    """A rule that an incoming column is held to against stored rows: `condition` is true of the rows that break it.
    `kind` and `hint` are those of the problem that they are."""

    kind: str
    column: str
    hint: str
    condition: str

    @property
    def query(self) -> str:
        """The first rows that break it, with the count of all."""
        return (
            f"SELECT row_no, {self.column}::text AS value, count(*) OVER () FROM incoming i "
            f"WHERE {self.column} IS NOT NULL AND {self.condition} ORDER BY row_no LIMIT 5"
        )


def _unknown(column: str, table: str, key: str | None = None) -> Reference:
    key = key or column
    return Reference(
        "unknown_reference",
        column,
        f"unknown {key.removesuffix('_id')}",
        f"NOT EXISTS (SELECT FROM {table} r WHERE r.{key} = i.{column})",
    )


def _minor(column: str) -> Reference:
    return Reference(
        "minor_currency",
        column,
        "a quotation unit, not a currency of its own",
        f"EXISTS (SELECT FROM currencies r WHERE r.currency = i.{column} AND r.units_per_major > 1)",
    )


REFERENCES: dict[str, tuple[Reference, ...]] = {
    "business_dates": (),
    "portfolios": (
        _unknown("base_currency", "currencies", "currency"),
        _minor("base_currency"),
        _unknown("calendar_id", "calendars"),
    ),
    "instruments": (_unknown("currency", "currencies"), _minor("currency")),
    "fx_rates": (
        _unknown("base_currency", "currencies", "currency"),
        _unknown("quote_currency", "currencies", "currency"),
        _minor("base_currency"),
        _minor("quote_currency"),
    ),
    "prices": (
        _unknown("security_id", "instruments"),
        _unknown("currency", "currencies"),
        Reference(
            "multiplier_missing",
            "security_id",
            "quoted PER_CONTRACT, and the instrument has no contract_multiplier",
            "i.quote_basis = 'PER_CONTRACT' AND EXISTS (SELECT FROM instruments r "
            "WHERE r.security_id = i.security_id AND r.contract_multiplier IS NULL)",
        ),
    ),
    "positions": (_unknown("portfolio_id", "portfolios"), _unknown("security_id", "instruments")),
}

STORED: dict[str, tuple[Reference, ...]] = {
    "prices": (
        Reference(
            "not_stored",
            "price_date",
            "no price is stored for that date: load it with `revalue load prices`",
            "NOT EXISTS (SELECT FROM market_prices r WHERE (r.security_id, r.price_date) = (i.security_id, i.price_date))",
        ),
    ),
    "fx_rates": (
        Reference(
            "not_stored",
            "rate_date",
            "no rate is stored for that date: load it with `revalue load fx_rates`",
            "NOT EXISTS (SELECT FROM fx_rates r WHERE (r.base_currency, r.quote_currency, r.rate_date) "
            "= (i.base_currency, i.quote_currency, i.rate_date))",
        ),
    ),
}
"""What a correction is held to: it replaces, and does not add."""


async def upsert(connection: Connection, kind: str) -> dict[str, int]:
    """Inserts what is new and updates what differs; the tables' own triggers record what that corrects."""
    if kind == "business_dates":
        await connection.execute(
            "INSERT INTO calendars (calendar_id) SELECT DISTINCT calendar_id FROM incoming ORDER BY 1 ON CONFLICT DO NOTHING"
        )
    row = await sql(f"upsert_{kind}").row(connection)
    assert row is not None
    if row["inserted"] and kind in ("portfolios", "instruments", "business_dates", "fx_rates"):
        # Readers join these at once, and would be planned for empty tables until autovacuum comes by.
        await connection.execute(f"ANALYZE {kind}")
    return {
        **dict(row),
        "unchanged": await connection.fetchval("SELECT count(*) FROM incoming") - sum(row.values()),
    }


async def replace_histories(connection: Connection, *, merge: bool) -> dict[str, int]:
    """Replaces the histories of the incoming keys: a correction where a change is at or before the key's frontier, a mere
    extension where all of it is later. Keys whose history stays the same are not touched."""
    if await sql("insert_positions").execute(connection) > _MANY_POSITIONS:
        await connection.execute("ANALYZE position_state")
    await sql("lock_positions").execute(connection)
    await sql("target_history").execute(connection, merge=merge)
    await connection.execute("ANALYZE becomes")
    await sql("changed_positions").execute(connection)
    await connection.execute("ANALYZE changed_positions")
    counts = await sql("count_changes").row(connection)
    assert counts is not None
    corrected = await sql("correct_histories").execute(connection)
    extended = await sql("extend_histories").value(connection)
    await sql("delete_later_records").execute(connection)
    await sql("write_histories").execute(connection)
    await connection.execute("DROP TABLE becomes, changed_positions")
    if corrected or extended:
        await connection.execute("NOTIFY revalue_wake")
    return {**dict(counts), "positions_corrected": corrected, "positions_extended": extended}
