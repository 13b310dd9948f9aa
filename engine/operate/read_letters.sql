SELECT d.dead_letter_id, d.job_id, p.portfolio_id, p.security_id, j.epoch, j.first_date, j.last_date, j.status::text,
       d.attempt_count, d.failure_reason, d.died_at, d.requeued_at
FROM dead_letters d
JOIN portfolio_valuation_jobs j USING (job_id)
JOIN position_state p USING (position_id)
WHERE d.dead_letter_id < :before
  AND (:portfolios::text[] IS NULL OR p.portfolio_id = ANY (:portfolios::text[]))
ORDER BY d.dead_letter_id DESC
LIMIT :most
