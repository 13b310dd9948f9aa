"""Add pause and drain of the scheduler and the record of fenced attempts; correct queued_keys.

History: the present definition of each view, function and trigger is in migrations/objects.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A position that was never scheduled has no values that a trigger could make wrong: a range up to a
# NULL frontier has to be empty, not endless.
QUEUED_KEYS = """
    CREATE OR REPLACE VIEW queued_keys AS
    SELECT r.position_id
    FROM trigger_reach r JOIN position_state p USING (position_id)
    WHERE r.fanned_out_at IS NULL
      AND NOT isempty(r.dates * p.open_dates * datemultirange(daterange(NULL, {frontier}, '(]')))
"""


def upgrade() -> None:
    # paused_at   time since which no new work starts; NULL: not paused. It outlives terms.
    # drain_term  the term that was asked to finish the work in flight and end; later terms ignore
    #             it
    op.execute(
        "ALTER TABLE scheduler_term ADD COLUMN paused_at timestamptz, ADD COLUMN paused_by text, "
        "ADD COLUMN drain_term bigint"
    )
    # One row per attempt that wanted to commit jobs which were no longer its own.
    # jobs_given_up    jobs of an abandoned attempt: a process that had stopped woke up (a zombie)
    # jobs_superseded  a correction had raised the position's epoch: this is normal
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
        "ALTER TABLE scheduler_term DROP COLUMN paused_at, DROP COLUMN paused_by, "
        "DROP COLUMN drain_term"
    )
