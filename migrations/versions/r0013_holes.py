"""A date that lacks data is a hole: it no longer keeps later dates without values.

holes: dates up to the frontier that have no value under `epoch`.
withdrawn: dates whose rows count no more, because they were taken out of the calendar or closed.
published_hidden: both, as readers see them: these dates show no number.
position_holes: what each job found missing, append-only.
invalidated_moment: since when readers have been told that the position is reprocessing.

What readers were told is now judged by what was published and opened at that time, so triggers keep
the pivot currency that they were written with and the moment of their fan-out, and quotation
currencies the moment of their first price.

Jobs that waited for data, or failed with an OVERFLOW, had values up to the first date without one.
They become PENDING from that date on, so that the later dates are valued. job_parts still says when
their first part was committed; nothing writes it any more.
"""

from alembic import op

from revalue.migrations import objects

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

WATERMARK = """
    ALTER TABLE position_state ADD COLUMN watermark_date date GENERATED ALWAYS AS (
        CASE WHEN isempty({due}) THEN frontier_date ELSE lower({due}) - 1 END) STORED
"""

NEW_TABLES = (
    # One row per run of business days that a job could not value. Under one epoch a date has at
    # most one row; the newest epoch counts (view current_holes).
    """
    CREATE TABLE position_holes (
        position_id bigint NOT NULL,
        epoch       integer NOT NULL,
        job_id      bigint NOT NULL,
        first_date  date NOT NULL,
        last_date   date NOT NULL,
        reason      text NOT NULL,
        subject     text NOT NULL,
        PRIMARY KEY (position_id, epoch, first_date),
        CHECK (first_date <= last_date)
    )
    """,
    "CREATE INDEX position_holes_job ON position_holes (job_id)",
    # The business dates that were taken out of a calendar, for readers of the past.
    """
    CREATE TABLE removed_business_dates (
        calendar_id    text NOT NULL REFERENCES calendars,
        business_date  date NOT NULL,
        moment_id      bigint,
        removed_moment bigint NOT NULL
    )
    """,
    "CREATE INDEX removed_business_dates_date "
    "ON removed_business_dates (calendar_id, business_date)",
)

# In the order of creation: each may use those before it.
VIEWS = (
    "views/position_conversions",
    "views/trigger_reach",
    "views/queued_positions",
    "views/current_holes",
    "views/position_status",
    "views/position_valuations",
)
FUNCTIONS = (
    "functions/business_days_among",
    "functions/hole_reason",
    "functions/opened_through_at",
    "functions/business_dates_at",
    "functions/business_day_after",
    "functions/record_calendar_correction",
    "functions/on_calendar_opened",
    "functions/on_business_dates_inserted",
    "functions/on_business_dates_removed",
    "functions/record_fx_correction",
    "functions/queued_triggers_at",
    "functions/publications_at",
    "functions/queued_since",
    "functions/positions_at",
    "functions/reprocessing_since",
    "functions/merged_reach",
    "functions/grant_revalue_roles",
)


def upgrade() -> None:
    _drop_dependents()
    for statement in NEW_TABLES:
        op.execute(statement)
    op.execute(
        """
        ALTER TABLE position_state DROP COLUMN watermark_date,
            ADD COLUMN holes datemultirange NOT NULL DEFAULT '{}',
            ADD COLUMN withdrawn datemultirange NOT NULL DEFAULT '{}',
            ADD COLUMN published_hidden datemultirange NOT NULL DEFAULT '{}',
            ADD COLUMN invalidated_moment bigint,
            ADD CHECK (isempty(holes) OR (NOT lower_inf(holes) AND NOT holes && pending
                                          AND upper(holes) <= frontier_date + 1))
        """
    )
    op.execute(WATERMARK.format(due="(pending + holes)"))
    op.execute(
        "CREATE INDEX position_state_holes ON position_state (position_id) WHERE NOT isempty(holes)"
    )
    op.execute(
        "UPDATE position_state SET invalidated_moment = stale_moment WHERE published_epoch < epoch"
    )
    op.execute(
        """
        ALTER TABLE publications ADD COLUMN hidden datemultirange NOT NULL DEFAULT '{}',
            ADD COLUMN invalidated_moment bigint
        """
    )
    op.execute(
        "UPDATE publications SET invalidated_moment = stale_moment WHERE stale_moment IS NOT NULL"
    )
    op.execute("ALTER TABLE security_quote_currencies ADD COLUMN moment_id bigint")
    op.execute(
        "ALTER TABLE security_quote_currencies ALTER COLUMN moment_id SET DEFAULT current_moment()"
    )
    op.execute(
        """
        ALTER TABLE reprocessing_triggers
            ADD COLUMN withdrawn datemultirange NOT NULL DEFAULT '{}',
            ADD COLUMN pivot_currency text,
            ADD COLUMN fanned_out_moment bigint,
            DROP CONSTRAINT reprocessing_triggers_check,
            ADD CONSTRAINT reprocessing_triggers_security CHECK (
                CASE WHEN kind IN ('PRICE', 'INSTRUMENT') THEN security_id IS NOT NULL
                     ELSE kind = 'CALENDAR' OR security_id IS NULL END)
        """
    )
    op.execute(
        """
        UPDATE reprocessing_triggers
        SET pivot_currency = (SELECT fx_pivot_currency FROM valuation_policy)
        WHERE kind = 'FX' AND fanned_out_at IS NULL
        """
    )
    op.execute(
        "CREATE INDEX reprocessing_triggers_fanned_out ON reprocessing_triggers (fanned_out_moment)"
    )
    _requeue_partly_valued_jobs()
    objects.apply(revision, *VIEWS, *FUNCTIONS)
    op.execute("SELECT grant_revalue_roles()")


def _requeue_partly_valued_jobs() -> None:
    """Let jobs that stopped at a date without a value begin again at that date."""
    op.execute(
        """
        UPDATE position_state p SET pending = p.pending - v.dates
        FROM (SELECT position_id, epoch,
                     range_agg(daterange(first_date, valued_through, '[]')) AS dates
              FROM portfolio_valuation_jobs
              WHERE valued_through IS NOT NULL AND (status = 'WAITING_FOR_DATA'
                    OR (status = 'FAILED' AND failure_reason LIKE 'OVERFLOW %'))
              GROUP BY position_id, epoch) v
        WHERE p.position_id = v.position_id AND p.epoch = v.epoch AND p.pending && v.dates
        """
    )
    op.execute(
        """
        WITH requeued AS (
            UPDATE portfolio_valuation_jobs j
            SET status = (CASE WHEN p.epoch = j.epoch THEN 'PENDING' ELSE 'SUPERSEDED' END)
                             ::valuation_job_status,
                first_date = CASE WHEN p.epoch = j.epoch
                                  THEN COALESCE(j.valued_through + 1, j.first_date)
                                  ELSE j.first_date END,
                valued_through = CASE WHEN p.epoch = j.epoch THEN NULL ELSE j.valued_through END,
                attempt_count = CASE WHEN p.epoch = j.epoch THEN 0 ELSE j.attempt_count END,
                task_id = 0,
                finished_at = CASE WHEN p.epoch = j.epoch THEN NULL
                                   ELSE COALESCE(j.finished_at, now()) END
            FROM position_state p
            WHERE p.position_id = j.position_id
              AND (j.status = 'WAITING_FOR_DATA'
                   OR (j.status = 'FAILED' AND j.failure_reason LIKE 'OVERFLOW %'))
            RETURNING j.job_id, j.status
        ), letters AS (
            UPDATE dead_letters d SET requeued_at = now()
            FROM requeued r
            WHERE d.job_id = r.job_id AND d.requeued_at IS NULL
        ), gone AS (
            DELETE FROM deferred_jobs d
            USING requeued r
            WHERE d.job_id = r.job_id AND r.status = 'SUPERSEDED'
        )
        INSERT INTO deferred_jobs (job_id, not_before)
        SELECT job_id, now() FROM requeued WHERE status = 'PENDING'
        ON CONFLICT (job_id) DO UPDATE SET not_before = excluded.not_before
        """
    )


def _drop_dependents() -> None:
    """Drop what depends on watermark_date, or cannot be replaced."""
    op.execute("DROP FUNCTION positions_at, reprocessing_since, merged_reach")
    op.execute("DROP FUNCTION IF EXISTS queued_since")
    op.execute("DROP FUNCTION publications_at")
    op.execute("DROP VIEW position_valuations, position_status")


def downgrade() -> None:
    objects.apply(
        down_revision,
        "functions/business_dates_at",
        "functions/on_calendar_opened",
        "functions/on_business_dates_inserted",
        "functions/on_business_dates_removed",
        "functions/record_fx_correction",
    )
    _drop_dependents()
    op.execute(
        "DROP FUNCTION queued_triggers_at, hole_reason, opened_through_at, "
        "business_days_among, business_day_after, record_calendar_correction"
    )
    op.execute("DROP VIEW current_holes, queued_positions, trigger_reach, position_conversions")
    # A hole is due again, with a job that finds it missing as the older version does.
    op.execute(
        """
        INSERT INTO portfolio_valuation_jobs
            (job_id, position_id, epoch, first_date, last_date, attempt_count, lane, status, term,
             task_id)
        SELECT nextval('valuation_job_ids'), position_id, epoch, lower(r), upper(r) - 1, 0,
               'HISTORY', 'PENDING', 0, 0
        FROM position_state, unnest(holes) AS r
        """
    )
    op.execute(
        """
        INSERT INTO deferred_jobs (job_id, not_before)
        SELECT job_id, now() FROM portfolio_valuation_jobs
        WHERE status = 'PENDING' AND task_id = 0
        ON CONFLICT DO NOTHING
        """
    )
    op.execute(
        "UPDATE portfolio_valuation_jobs SET status = 'SUPERSEDED' "
        "WHERE status = 'WAITING_FOR_DATA'"
    )
    op.execute(
        """
        UPDATE position_state SET pending = pending + holes, holes = '{}' WHERE NOT isempty(holes)
        """
    )
    op.execute(
        """
        ALTER TABLE position_state DROP COLUMN watermark_date, DROP COLUMN holes,
            DROP COLUMN withdrawn, DROP COLUMN published_hidden, DROP COLUMN invalidated_moment
        """
    )
    op.execute(WATERMARK.format(due="pending"))
    op.execute("ALTER TABLE publications DROP COLUMN hidden, DROP COLUMN invalidated_moment")
    op.execute("ALTER TABLE security_quote_currencies DROP COLUMN moment_id")
    op.execute(
        """
        ALTER TABLE reprocessing_triggers
            DROP CONSTRAINT reprocessing_triggers_security,
            DROP COLUMN withdrawn, DROP COLUMN pivot_currency, DROP COLUMN fanned_out_moment
        """
    )
    op.execute("UPDATE reprocessing_triggers SET security_id = NULL WHERE kind = 'CALENDAR'")
    op.execute(
        "ALTER TABLE reprocessing_triggers ADD CONSTRAINT reprocessing_triggers_check "
        "CHECK ((kind IN ('PRICE', 'INSTRUMENT')) = (security_id IS NOT NULL))"
    )
    op.execute("DROP TABLE position_holes, removed_business_dates")
    objects.apply(
        down_revision,
        *(name for name in VIEWS if name != "views/current_holes"),
        "functions/publications_at",
        "functions/positions_at",
        "functions/reprocessing_since",
        "functions/merged_reach",
        "functions/grant_revalue_roles",
    )
    op.execute("SELECT grant_revalue_roles()")
