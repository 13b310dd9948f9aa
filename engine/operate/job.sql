-- One job as a whole; no row: there is none.
SELECT job_id, status::text, lane::text, span_count, first_date, last_date, valued_through,
       attempt_count, rows_written, failure_reason, term, task_id, created_at, finished_at
FROM portfolio_valuation_jobs
WHERE job_id = :job
