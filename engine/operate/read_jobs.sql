SELECT j.job_id, p.portfolio_id, p.security_id, j.status::text, j.lane::text, j.epoch, j.first_date, j.last_date,
       j.valued_through, j.attempt_count, j.rows_written, j.failure_reason, j.trigger_id, j.created_at, j.finished_at
FROM portfolio_valuation_jobs j
JOIN position_state p USING (position_id)
WHERE j.job_id < :before AND (:status::text IS NULL OR j.status::text = :status)
  AND (:portfolios::text[] IS NULL OR p.portfolio_id = ANY (:portfolios::text[]))
ORDER BY j.job_id DESC
LIMIT :most
