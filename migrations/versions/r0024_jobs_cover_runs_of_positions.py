"""A job covers a run of positions: one row for what was a row per position.

positions, epochs, first_dates, last_dates, trigger_ids: parallel arrays, one element per span, in
the order of positions. Only a job that is complete, unfinished or superseded has several spans.
trigger_ids: the correction that made a span due; NULL: none did.
position_range: the ids from the first to the last position.
is_open: something is left to do: it is unfinished, or its results are not applied.
published_moment: the job was one publication: all of its positions published its epochs at that
moment and changed nothing else of what they publish. stale_moment, invalidated_moment: as in
publications, for all of its positions.

span_count: how many spans. Stored, because counting them reads an array that can have 50,000.

Existing jobs have one span. No index follows what is not of a job as a whole, so there is one for
the attempts, one for the open jobs, one for those that ended without being complete, and one by
which the jobs of a position are found.
"""

from alembic import op

from revalue.migrations import objects

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "functions/publications_at",
    "functions/queued_since",
    "functions/reprocessing_since",
    "functions/positions_at",
    "functions/grant_revalue_roles",
)

# One rewrite of the table: a generated column is filled while the types of others change, and keeps
# its values when it is no longer generated.
UPGRADE = (
    "DROP INDEX portfolio_valuation_jobs_position",
    """
    ALTER TABLE portfolio_valuation_jobs
        ALTER COLUMN position_id TYPE bigint[] USING ARRAY[position_id],
        ALTER COLUMN epoch TYPE integer[] USING ARRAY[epoch],
        ALTER COLUMN trigger_id TYPE bigint[] USING ARRAY[trigger_id],
        ADD COLUMN first_dates date[] GENERATED ALWAYS AS (ARRAY[first_date]) STORED,
        ADD COLUMN last_dates date[] GENERATED ALWAYS AS (ARRAY[last_date]) STORED,
        ADD COLUMN is_open boolean NOT NULL DEFAULT false,
        ADD COLUMN published_moment bigint,
        ADD COLUMN stale_moment bigint,
        ADD COLUMN invalidated_moment bigint
    """,
    "ALTER TABLE portfolio_valuation_jobs RENAME COLUMN position_id TO positions",
    "ALTER TABLE portfolio_valuation_jobs RENAME COLUMN epoch TO epochs",
    "ALTER TABLE portfolio_valuation_jobs RENAME COLUMN trigger_id TO trigger_ids",
    """
    ALTER TABLE portfolio_valuation_jobs
        ALTER COLUMN first_dates DROP EXPRESSION,
        ALTER COLUMN last_dates DROP EXPRESSION,
        ALTER COLUMN first_dates SET NOT NULL,
        ALTER COLUMN last_dates SET NOT NULL,
        ALTER COLUMN trigger_ids SET NOT NULL,
        ALTER COLUMN is_open SET DEFAULT true,
        ADD COLUMN position_range int8range GENERATED ALWAYS AS (
            int8range(positions[1], positions[cardinality(positions)], '[]')) STORED,
        ADD COLUMN span_count integer GENERATED ALWAYS AS (cardinality(positions)) STORED,
        ADD CHECK (cardinality(positions) >= 1
                   AND cardinality(epochs) = cardinality(positions)
                   AND cardinality(first_dates) = cardinality(positions)
                   AND cardinality(last_dates) = cardinality(positions)
                   AND cardinality(trigger_ids) = cardinality(positions))
    """,
    """
    UPDATE portfolio_valuation_jobs j SET is_open = true
    WHERE j.status IN ('PENDING', 'PROCESSING')
       OR (j.valued_through IS NOT NULL
           AND EXISTS (SELECT FROM position_state p
                       WHERE p.position_id = j.positions[1] AND p.epoch = j.epochs[1]
                         AND p.pending && daterange(j.first_date, j.valued_through, '[]')))
    """,
    "ALTER TABLE portfolio_valuation_jobs RESET (fillfactor)",
    "CREATE INDEX portfolio_valuation_jobs_positions "
    "ON portfolio_valuation_jobs USING gist (position_range)",
    "CREATE INDEX portfolio_valuation_jobs_task ON portfolio_valuation_jobs (task_id)",
    "CREATE INDEX portfolio_valuation_jobs_open ON portfolio_valuation_jobs (job_id) WHERE is_open",
    "CREATE INDEX portfolio_valuation_jobs_incomplete ON portfolio_valuation_jobs (status, job_id) "
    "WHERE status IN ('SKIPPED_NO_POSITION', 'WAITING_FOR_DATA', 'FAILED')",
)

# The first span of a job keeps the job's id; each other span becomes a job of its own.
DOWNGRADE = (
    """
    CREATE TEMP TABLE spans ON COMMIT DROP AS
    SELECT CASE WHEN number = 1 THEN job_id ELSE nextval('valuation_job_ids') END AS job_id,
           job_id AS from_job, position_id, epoch, first_date, last_date, trigger_id, number
    FROM job_spans
    """,
    "ANALYZE spans",
    """
    INSERT INTO publications
        (position_id, moment_id, epoch, open_dates, hidden, stale_moment, invalidated_moment)
    SELECT DISTINCT ON (s.position_id, s.published_moment)
           s.position_id, s.published_moment, s.epoch, u.open_dates, u.hidden, s.stale_moment,
           s.invalidated_moment
    FROM job_spans s
    JOIN moments n ON n.moment_id = s.published_moment
    CROSS JOIN LATERAL (
        SELECT w.open_dates, w.hidden
        FROM publications w JOIN moments m ON m.moment_id = w.moment_id
        WHERE w.position_id = s.position_id AND m.at <= n.at
        ORDER BY m.at DESC
        LIMIT 1
    ) u
    ORDER BY s.position_id, s.published_moment, s.epoch DESC
    ON CONFLICT (position_id, moment_id) DO NOTHING
    """,
    """
    UPDATE daily_position_snapshots s SET job_id = n.job_id
    FROM spans n
    WHERE n.number > 1 AND s.job_id = n.from_job AND s.position_id = n.position_id
      AND s.date BETWEEN n.first_date AND n.last_date
    """,
)
SINGLE_SPANS = (
    "DROP INDEX portfolio_valuation_jobs_incomplete, portfolio_valuation_jobs_task",
    """
    ALTER TABLE portfolio_valuation_jobs
        DROP COLUMN position_range, DROP COLUMN span_count, DROP COLUMN is_open,
        DROP COLUMN published_moment, DROP COLUMN stale_moment, DROP COLUMN invalidated_moment,
        DROP COLUMN first_dates, DROP COLUMN last_dates,
        ALTER COLUMN positions TYPE bigint USING positions[1],
        ALTER COLUMN epochs TYPE integer USING epochs[1],
        ALTER COLUMN trigger_ids TYPE bigint USING trigger_ids[1],
        ALTER COLUMN trigger_ids DROP NOT NULL
    """,
    "ALTER TABLE portfolio_valuation_jobs RENAME COLUMN positions TO position_id",
    "ALTER TABLE portfolio_valuation_jobs RENAME COLUMN epochs TO epoch",
    "ALTER TABLE portfolio_valuation_jobs RENAME COLUMN trigger_ids TO trigger_id",
    """
    UPDATE portfolio_valuation_jobs j
    SET first_date = n.first_date, last_date = n.last_date,
        valued_through = LEAST(j.valued_through, n.last_date)
    FROM spans n
    WHERE n.job_id = j.job_id AND n.number = 1
      AND EXISTS (SELECT FROM spans o WHERE o.from_job = j.job_id AND o.number > 1)
    """,
    # How many rows each wrote is not kept apart: they are counted.
    """
    INSERT INTO portfolio_valuation_jobs
        (job_id, position_id, epoch, first_date, last_date, valued_through, attempt_count,
         rows_written, lane, status, term, task_id, trigger_id, created_at, finished_at,
         failure_reason, moment_id, deaths)
    SELECT n.job_id, n.position_id, n.epoch, n.first_date, n.last_date,
           CASE WHEN j.valued_through IS NOT NULL THEN n.last_date END, j.attempt_count,
           (SELECT count(*) FROM daily_position_snapshots s
            WHERE s.job_id = n.job_id AND s.position_id = n.position_id
              AND s.date BETWEEN n.first_date AND n.last_date),
           j.lane, j.status, j.term, j.task_id, n.trigger_id, j.created_at, j.finished_at,
           j.failure_reason, j.moment_id, j.deaths
    FROM spans n
    JOIN portfolio_valuation_jobs j ON j.job_id = n.from_job
    WHERE n.number > 1
    """,
    """
    UPDATE portfolio_valuation_jobs j SET rows_written = j.rows_written - o.rows_written
    FROM (SELECT n.from_job, sum(w.rows_written) AS rows_written
          FROM spans n JOIN portfolio_valuation_jobs w ON w.job_id = n.job_id
          WHERE n.number > 1
          GROUP BY n.from_job) o
    WHERE j.job_id = o.from_job
    """,
    """
    INSERT INTO deferred_jobs (job_id, not_before)
    SELECT n.job_id, d.not_before
    FROM spans n JOIN deferred_jobs d ON d.job_id = n.from_job
    WHERE n.number > 1
    """,
    "ALTER TABLE portfolio_valuation_jobs SET (fillfactor = 45)",
    "CREATE INDEX portfolio_valuation_jobs_position "
    "ON portfolio_valuation_jobs (position_id, job_id)",
)


def upgrade() -> None:
    _drop_dependents()
    for statement in UPGRADE:
        op.execute(statement)
    objects.apply(revision, "views/job_spans", "views/position_status", *FUNCTIONS)
    op.execute("SELECT grant_revalue_roles()")


def _drop_dependents() -> None:
    op.execute("DROP FUNCTION positions_at, reprocessing_since, queued_since, publications_at")
    op.execute("DROP VIEW position_status")


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
    _drop_dependents()
    op.execute("DROP VIEW job_spans")
    for statement in SINGLE_SPANS:
        op.execute(statement)
    objects.apply(down_revision, "views/position_status", *FUNCTIONS)
    op.execute("SELECT grant_revalue_roles()")
