-- The outcomes of the spans of one attempt, until the end of the transaction; see
-- commit.FINISHED_COLUMNS.
CREATE TEMP TABLE IF NOT EXISTS finished_spans (
    from_job bigint, job_id bigint, position_id bigint, first_date date, status text,
    valued_through date, rows_written integer, failure_reason text, traceback text
) ON COMMIT DELETE ROWS
