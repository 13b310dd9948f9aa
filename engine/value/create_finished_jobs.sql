-- The outcomes of one task, until the end of the transaction; see commit.OUTCOME_COLUMNS.
CREATE TEMP TABLE IF NOT EXISTS finished_jobs (
    job_id bigint, status text, valued_through date, rows_written integer, failure_reason text,
    traceback text
) ON COMMIT DELETE ROWS
