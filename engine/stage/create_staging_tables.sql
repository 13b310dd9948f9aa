-- Proposed positions and spans of jobs, until the end of the transaction.
--
-- first_date, last_date: of a position that has exactly one range. is_staged: its current epoch had
-- been staged before. trigger_id, stale_moment: only of a fan-out.
CREATE TEMP TABLE IF NOT EXISTS staged_positions (
    position_id bigint, calendar_no smallint, calendar_revision integer, revision integer,
    horizon date, first_date date, last_date date, is_staged boolean,
    trigger_id bigint, stale_moment bigint
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS staged_spans (
    job_id bigint, task_id bigint, position_id bigint, first_date date, last_date date
) ON COMMIT DELETE ROWS
