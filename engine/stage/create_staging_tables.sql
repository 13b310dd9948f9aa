-- Proposed positions and jobs, until the end of the transaction. first_date and last_date of a
-- position are set if it has exactly one range; trigger_id and stale_moment only by a fan-out.
CREATE TEMP TABLE IF NOT EXISTS staged_positions (
    position_id bigint, calendar_no smallint, calendar_revision integer, revision integer,
    horizon date, first_date date, last_date date, trigger_id bigint, stale_moment bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_jobs (
    job_id bigint, task_id bigint, position_id bigint, first_date date, last_date date
) ON COMMIT DELETE ROWS
