"""Create the protocol's tables: positions, triggers, jobs, snapshots, the scheduler's term."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JOB_STATUSES = (
    "PENDING",
    "PROCESSING",
    "COMPLETE",
    "SKIPPED_NO_POSITION",
    "WAITING_FOR_DATA",
    "FAILED",
    "SUPERSEDED",
)

TABLES = (
    # No step of the protocol changes an indexed column, and the fill factor leaves free space on
    # each page, so updates stay HOT (no index entry is written).
    # pending        dates up to frontier_date that are still due under `epoch`
    # staged_epoch   the epoch for which all of `pending` has jobs; after a correction it is smaller
    #                than `epoch` until the position is staged
    # revision       raised by every writer except apply: a scan is staged only if the revision is
    #                still the one that it saw, so it is staged once
    # open_dates     dates on which the position exists (closing dates included), by the history of
    #                `history_epoch`
    # published_open_dates  the same by the history that readers see (that of `published_epoch`)
    """
    CREATE TABLE position_state (
        position_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        portfolio_id         text NOT NULL REFERENCES portfolios,
        security_id          text NOT NULL REFERENCES instruments,
        epoch                integer NOT NULL DEFAULT 0,
        published_epoch      integer NOT NULL DEFAULT 0,
        history_epoch        integer NOT NULL DEFAULT 0,
        staged_epoch         integer NOT NULL DEFAULT 0,
        revision             integer NOT NULL DEFAULT 0,
        frontier_date        date,
        watermark_date       date GENERATED ALWAYS AS (
                                 CASE WHEN isempty(pending) THEN frontier_date ELSE lower(pending) - 1 END) STORED,
        trigger_id           bigint,
        pending              datemultirange NOT NULL DEFAULT '{}',
        open_dates           datemultirange NOT NULL DEFAULT '{}',
        published_open_dates datemultirange NOT NULL DEFAULT '{}',
        UNIQUE (portfolio_id, security_id),
        CHECK (epoch >= 0 AND published_epoch BETWEEN 0 AND epoch AND history_epoch BETWEEN 0 AND epoch
               AND staged_epoch BETWEEN 0 AND epoch),
        CHECK (isempty(pending) OR (NOT lower_inf(pending) AND upper(pending) <= frontier_date + 1)),
        CHECK (isempty(open_dates) OR NOT lower_inf(open_dates)),
        CHECK (isempty(pending) OR published_epoch < epoch OR staged_epoch = epoch)
    ) WITH (fillfactor = 60)
    """,
    "CREATE INDEX position_state_security ON position_state (security_id, position_id)",
    # A history is written once, under the epoch that replaced it. Only dates after the frontier may
    # be added to it later.
    """
    CREATE TABLE position_history (
        position_id      bigint NOT NULL REFERENCES position_state,
        epoch            integer NOT NULL,
        position_date    date NOT NULL CHECK (isfinite(position_date)),
        quantity         numeric(28, 10) NOT NULL CHECK (quantity <> 'NaN'),
        cost_basis_local numeric(28, 10) NOT NULL CHECK (cost_basis_local <> 'NaN'),
        cost_basis       numeric(28, 10) NOT NULL CHECK (cost_basis <> 'NaN'),
        PRIMARY KEY (position_id, epoch, position_date),
        CHECK (quantity <> 0 OR (cost_basis_local = 0 AND cost_basis = 0))
    )
    """,
    """
    CREATE TABLE reprocessing_triggers (
        trigger_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind               text NOT NULL
                           CHECK (kind IN ('PRICE', 'FX', 'INSTRUMENT', 'CALENDAR', 'POLICY', 'POSITION')),
        security_id        text,
        base_currency      text,
        quote_currency     text,
        calendar_id        text,
        dates              datemultirange NOT NULL CHECK (NOT isempty(dates)),
        created_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
        cursor_position_id bigint NOT NULL DEFAULT 0,
        keys_raised        bigint NOT NULL DEFAULT 0,
        fanned_out_at      timestamptz,
        CHECK ((kind IN ('PRICE', 'INSTRUMENT')) = (security_id IS NOT NULL)),
        CHECK ((kind = 'FX') = (base_currency IS NOT NULL AND quote_currency IS NOT NULL)),
        CHECK ((kind = 'CALENDAR') = (calendar_id IS NOT NULL))
    )
    """,
    "CREATE INDEX reprocessing_triggers_queued ON reprocessing_triggers (trigger_id) WHERE fanned_out_at IS NULL",
    "CREATE TYPE valuation_job_status AS ENUM ({})".format(
        ", ".join(f"'{s}'" for s in JOB_STATUSES)
    ),
    "CREATE TYPE valuation_lane AS ENUM ('LIVE', 'HISTORY')",
    # The scheduler takes job ids in blocks, so that the jobs of a task have contiguous ids.
    "CREATE SEQUENCE valuation_job_ids AS bigint",
    # A task is one attempt at a set of jobs. Its id is never used again, so it can fence an attempt
    # that was abandoned.
    "CREATE SEQUENCE valuation_task_ids AS bigint",
    # No foreign key to position_state here and on snapshots: rows of position_state are never
    # deleted, and the check of each row would lock the rows that the protocol updates.
    """
    CREATE TABLE portfolio_valuation_jobs (
        job_id         bigint PRIMARY KEY,
        position_id    bigint NOT NULL,
        epoch          integer NOT NULL,
        first_date     date NOT NULL,
        last_date      date NOT NULL,
        valued_through date,
        attempt_count  integer NOT NULL CHECK (attempt_count >= 0),
        rows_written   integer,
        lane           valuation_lane NOT NULL,
        status         valuation_job_status NOT NULL,
        term           bigint NOT NULL,
        task_id        bigint NOT NULL,
        trigger_id     bigint,
        created_at     timestamptz NOT NULL DEFAULT now(),
        finished_at    timestamptz,
        failure_reason text,
        CHECK (first_date <= last_date),
        CHECK (valued_through BETWEEN first_date AND last_date),
        CHECK (status <> 'COMPLETE' OR (valued_through = last_date AND finished_at IS NOT NULL)),
        CHECK (status NOT IN ('WAITING_FOR_DATA', 'FAILED') OR failure_reason IS NOT NULL)
    ) WITH (fillfactor = 75)
    """,
    "CREATE INDEX portfolio_valuation_jobs_position ON portfolio_valuation_jobs (position_id)",
    # Jobs to check again later. A separate table, so that no index has to follow the status of
    # every job.
    """
    CREATE TABLE deferred_jobs (
        job_id     bigint PRIMARY KEY REFERENCES portfolio_valuation_jobs,
        not_before timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE dead_letters (
        dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job_id         bigint NOT NULL REFERENCES portfolio_valuation_jobs,
        attempt_count  integer NOT NULL,
        failure_reason text NOT NULL,
        traceback      text NOT NULL,
        died_at        timestamptz NOT NULL DEFAULT now(),
        requeued_at    timestamptz
    )
    """,
    "CREATE INDEX dead_letters_job ON dead_letters (job_id)",
    # Append-only. status: 0 VALUED_CURRENT, 1 VALUED_STALE. fx_path: see docs/valuation.md.
    """
    CREATE TABLE daily_position_snapshots (
        position_id           bigint NOT NULL,
        job_id                bigint NOT NULL,
        date                  date NOT NULL,
        epoch                 integer NOT NULL,
        price_date            date,
        fx_date               date,
        fx_path               smallint,
        status                smallint NOT NULL CHECK (status IN (0, 1)),
        quantity              numeric(28, 10) NOT NULL,
        cost_basis_local      numeric(28, 10) NOT NULL,
        cost_basis            numeric(28, 10) NOT NULL,
        price                 numeric(38, 18),
        fx_rate               numeric(38, 18),
        market_value_local    numeric(28, 10) NOT NULL,
        market_value          numeric(28, 10) NOT NULL,
        unrealized_gain_local numeric(28, 10) NOT NULL,
        unrealized_gain       numeric(28, 10) NOT NULL,
        PRIMARY KEY (position_id, date, epoch)
    )
    """,
    """
    CREATE TABLE scheduler_term (
        singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
        term         bigint NOT NULL,
        holder       text,
        acquired_at  timestamptz,
        heartbeat_at timestamptz
    )
    """,
    "INSERT INTO scheduler_term (term) VALUES (0)",
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE scheduler_term, daily_position_snapshots, dead_letters, deferred_jobs, "
        "portfolio_valuation_jobs, reprocessing_triggers, position_history, position_state"
    )
    op.execute("DROP SEQUENCE valuation_job_ids")
    op.execute("DROP SEQUENCE valuation_task_ids")
    op.execute("DROP TYPE valuation_lane")
    op.execute("DROP TYPE valuation_job_status")
