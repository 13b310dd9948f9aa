"""Order the columns of position_state: first what a correction leaves as it is.

An update writes to the log only what differs between the bytes of both rows: what they begin with
and end with alike is left out. With epochs in front and date sets behind, nearly the whole row was
logged. Within the row, columns that only the fan-out changes come before those that applying
changes too.

watermark_date computes the due dates once, not twice.
"""

from alembic import op

from revalue.migrations import objects

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_NEW_WATERMARK = "COALESCE(lower(pending + holes) - 1, frontier_date)"
_OLD_WATERMARK = (
    "CASE WHEN isempty(pending + holes) THEN frontier_date ELSE lower(pending + holes) - 1 END"
)

_DATES = "datemultirange NOT NULL DEFAULT '{}'"
_EPOCH = "integer NOT NULL DEFAULT 0"
_TYPES = {
    "position_id": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "portfolio_id": "text NOT NULL",
    "security_id": "text NOT NULL",
    "calendar_no": "smallint NOT NULL",
    "base_currency_no": "smallint NOT NULL",
    "open_dates": _DATES,
    "published_open_dates": _DATES,
    "holes": _DATES,
    "withdrawn": _DATES,
    "published_hidden": _DATES,
    "history_epoch": _EPOCH,
    "frontier_date": "date",
    "trigger_id": "bigint",
    "stale_moment": "bigint",
    "invalidated_moment": "bigint",
    "epoch": _EPOCH,
    "staged_epoch": _EPOCH,
    "revision": _EPOCH,
    "published_epoch": _EPOCH,
    "pending": _DATES,
}
_NEW_ORDER = (*_TYPES, "watermark_date")
_OLD_ORDER = (
    "position_id",
    "portfolio_id",
    "security_id",
    "epoch",
    "published_epoch",
    "history_epoch",
    "staged_epoch",
    "revision",
    "frontier_date",
    "trigger_id",
    "pending",
    "open_dates",
    "published_open_dates",
    "stale_moment",
    "calendar_no",
    "base_currency_no",
    "holes",
    "withdrawn",
    "published_hidden",
    "invalidated_moment",
    "watermark_date",
)

# In the order of creation: each may use those before it.
_DEPENDENTS = (
    "triggers/position_state",
    "views/position_conversions",
    "views/trigger_reach",
    "views/queued_positions",
    "views/current_holes",
    "views/position_status",
    "views/position_valuations",
    "functions/merged_reach",
    "functions/publications_at",
    "functions/queued_since",
    "functions/reprocessing_since",
    "functions/positions_at",
)

_REQUIRE_NO_OTHER_DEPENDENTS = """
    DO $$
    DECLARE
        others text := (
            SELECT string_agg(DISTINCT r.ev_class::regclass::text, ', ')
            FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
            WHERE d.classid = 'pg_rewrite'::regclass
              AND d.refobjid = 'position_state'::regclass);
    BEGIN
        IF others IS NOT NULL THEN
            RAISE EXCEPTION 'position_state is made anew, and other views read it: %', others
                USING ERRCODE = 'restrict_violation',
                      HINT = 'Drop them, run this again, and create them again.';
        END IF;
    END $$
"""

# Those to whom somebody has granted a right by hand keep it. (The roles of revalue get theirs from
# grant_revalue_roles.)
_KEEP_OWNER_AND_GRANTS = """
    DO $$
    DECLARE
        owner oid := (SELECT relowner FROM pg_class
                      WHERE oid = 'earlier_position_state'::regclass);
        given record;
    BEGIN
        FOR given IN
            SELECT a.privilege_type, a.is_grantable,
                   CASE WHEN a.grantee = 0 THEN 'PUBLIC'
                        ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS grantee
            FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
            WHERE c.oid = 'earlier_position_state'::regclass AND a.grantee <> c.relowner
        LOOP
            EXECUTE format('GRANT %s ON position_state TO %s', given.privilege_type, given.grantee)
                    || CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
        END LOOP;
        IF owner <> (SELECT relowner FROM pg_class WHERE oid = 'position_state'::regclass) THEN
            EXECUTE format('ALTER TABLE position_state OWNER TO %I', pg_get_userbyid(owner));
        END IF;
    END $$
"""


def upgrade() -> None:
    _rebuild(revision, _NEW_ORDER, _NEW_WATERMARK)


def downgrade() -> None:
    _rebuild(down_revision, _OLD_ORDER, _OLD_WATERMARK)


def _rebuild(at_revision: str, order: tuple[str, ...], watermark: str) -> None:
    """Create position_state anew with its columns in this order, and what depends on it."""
    op.execute(
        "DROP FUNCTION positions_at, reprocessing_since, queued_since, publications_at, "
        "merged_reach"
    )
    op.execute(
        "DROP VIEW position_valuations, position_status, current_holes, queued_positions, "
        "trigger_reach, position_conversions"
    )
    op.execute(_REQUIRE_NO_OTHER_DEPENDENTS)
    op.execute("ALTER TABLE position_state RENAME TO earlier_position_state")
    # A name of a constraint with an index, or of a sequence, is free only when it is renamed.
    for name in ("position_state_pkey", "position_state_portfolio_id_security_id_key"):
        op.execute(f"ALTER INDEX {name} RENAME TO earlier_{name}")
    op.execute(
        "ALTER SEQUENCE position_state_position_id_seq RENAME TO earlier_position_state_id_seq"
    )
    op.execute("DROP INDEX position_state_security, position_state_holes")
    types = {**_TYPES, "watermark_date": f"date GENERATED ALWAYS AS ({watermark}) STORED"}
    columns = ", ".join(f"{name} {types[name]}" for name in order)
    op.execute(
        f"""
        CREATE TABLE position_state ({columns},
            UNIQUE (portfolio_id, security_id),
            CHECK (epoch >= 0 AND published_epoch BETWEEN 0 AND epoch
                   AND history_epoch BETWEEN 0 AND epoch AND staged_epoch BETWEEN 0 AND epoch),
            CHECK (isempty(pending)
                   OR (NOT lower_inf(pending) AND upper(pending) <= frontier_date + 1)),
            CHECK (isempty(open_dates) OR NOT lower_inf(open_dates)),
            CHECK (isempty(pending) OR published_epoch < epoch OR staged_epoch = epoch),
            CHECK (isempty(holes) OR (NOT lower_inf(holes) AND NOT holes && pending
                                      AND upper(holes) <= frontier_date + 1))
        ) WITH (fillfactor = 45)
        """
    )
    stored = ", ".join(name for name in order if name != "watermark_date")
    op.execute(
        f"""
        INSERT INTO position_state ({stored}) OVERRIDING SYSTEM VALUE
        SELECT {stored} FROM earlier_position_state ORDER BY position_id
        """
    )
    op.execute(
        "SELECT setval('position_state_position_id_seq', last_value, is_called) "
        "FROM earlier_position_state_id_seq"
    )
    op.execute(_KEEP_OWNER_AND_GRANTS)
    op.execute("DROP TABLE earlier_position_state")
    op.execute("CREATE INDEX position_state_security ON position_state (security_id, position_id)")
    op.execute(
        "CREATE INDEX position_state_holes ON position_state (position_id) WHERE NOT isempty(holes)"
    )
    op.execute("ANALYZE position_state")
    objects.apply(at_revision, *_DEPENDENTS)
    op.execute("SELECT grant_revalue_roles()")
