-- End unfinished jobs whose position has a newer epoch: deferred jobs, and those that failed.
-- Returns how many.
WITH gone AS (
    DELETE FROM deferred_jobs d
    USING portfolio_valuation_jobs j, position_state p
    WHERE j.job_id = d.job_id AND p.position_id = j.position_id AND p.epoch > j.epoch
    RETURNING d.job_id
), failed AS (
    SELECT j.job_id
    FROM dead_letters d
    JOIN portfolio_valuation_jobs j USING (job_id)
    JOIN position_state p ON p.position_id = d.position_id
    WHERE j.status = 'FAILED' AND j.valued_through IS NULL AND p.epoch > j.epoch
)
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = now()
FROM (SELECT job_id FROM gone UNION SELECT job_id FROM failed) ended
WHERE j.job_id = ended.job_id AND j.status IN ('PENDING', 'FAILED')
