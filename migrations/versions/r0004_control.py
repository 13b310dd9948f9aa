"""What an operator asks of the scheduler (pause, drain), a record of attempts that were fenced, and what is queued."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


# A key that was never scheduled has nothing that a trigger could make wrong: a range up to no frontier is empty, not endless.
QUEUED_KEYS = """
    CREATE OR REPLACE VIEW queued_keys AS
    SELECT r.position_id
    FROM trigger_reach r JOIN position_state p USING (position_id)
    WHERE r.fanned_out_at IS NULL
      AND NOT isempty(r.dates * p.open_dates * datemultirange(daterange(NULL, {frontier}, '(]')))
"""


def upgrade() -> None:
    # paused_at   since when no new work is begun; NULL: work goes on. It outlives terms.
    # drain_term  the term that was asked to finish what is in flight and end; a later term is not concerned.
    op.execute(
        "ALTER TABLE scheduler_term ADD COLUMN paused_at timestamptz, ADD COLUMN paused_by text, ADD COLUMN drain_term bigint"
    )
    # One row an attempt that came to commit and found jobs that were no longer its own.
    # jobs_given_up    the attempt had been given up: a process that stood still woke up (a zombie)
    # jobs_superseded  a correction had raised the key's epoch: as it should be
    op.execute(
        """
        CREATE TABLE fenced_attempts (
            fenced_attempt_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            task_id           bigint NOT NULL,
            jobs_given_up     integer NOT NULL,
            jobs_superseded   integer NOT NULL,
            fenced_at         timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute(QUEUED_KEYS.format(frontier="COALESCE(p.frontier_date, '-infinity')"))


def downgrade() -> None:
    op.execute(QUEUED_KEYS.format(frontier="p.frontier_date"))
    op.execute("DROP TABLE fenced_attempts")
    op.execute(
        "ALTER TABLE scheduler_term DROP COLUMN paused_at, DROP COLUMN paused_by, DROP COLUMN drain_term"
    )
