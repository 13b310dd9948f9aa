-- End unfinished jobs whose positions all have newer epochs than they: deferred jobs, and those
-- that failed. Returns how many.
WITH gone AS (
    DELETE FROM deferred_jobs d
    USING (
        SELECT s.job_id
        FROM deferred_jobs w
        JOIN job_spans s USING (job_id)
        JOIN position_state p USING (position_id)
        GROUP BY s.job_id
        HAVING bool_and(p.epoch > s.epoch)
    ) old
    WHERE d.job_id = old.job_id
    RETURNING d.job_id
), failed AS (
    SELECT j.job_id
    FROM dead_letters d
    JOIN portfolio_valuation_jobs j USING (job_id)
    JOIN position_state p ON p.position_id = d.position_id
    WHERE j.status = 'FAILED' AND j.valued_through IS NULL AND p.epoch > j.epochs[1]
)
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = now(), is_open = false
FROM (SELECT job_id FROM gone UNION SELECT job_id FROM failed) ended
WHERE j.job_id = ended.job_id AND j.status IN ('PENDING', 'FAILED')
