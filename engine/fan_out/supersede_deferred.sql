-- End deferred jobs whose position has a newer epoch. Returns how many.
WITH gone AS (
    DELETE FROM deferred_jobs d
    USING portfolio_valuation_jobs j, position_state p
    WHERE j.job_id = d.job_id AND p.position_id = j.position_id AND p.epoch > j.epoch
    RETURNING d.job_id
)
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = now()
FROM gone
WHERE j.job_id = gone.job_id AND j.status IN ('PENDING', 'WAITING_FOR_DATA')
