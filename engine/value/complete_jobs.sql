-- Finish jobs of which every span is complete.
UPDATE portfolio_valuation_jobs j
SET status = 'COMPLETE', valued_through = j.last_date, rows_written = f.rows_written,
    failure_reason = NULL, moment_id = (SELECT current_moment()), finished_at = now()
FROM unnest(:jobs::bigint[], :rows_written::integer[]) AS f (job_id, rows_written)
WHERE j.job_id = f.job_id
