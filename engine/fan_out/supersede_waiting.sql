-- End the jobs of a page whose holes are all due again: jobs that wait for data, and those that
-- failed on a date. Returns how many.
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', is_open = false
FROM (
    SELECT h.job_id
    FROM position_holes h
    JOIN position_state p USING (position_id)
    JOIN trigger_reach r USING (position_id)
    WHERE r.trigger_id = ANY (:firsts::bigint[]) AND h.epoch < p.epoch
      AND p.position_id > :cursor AND p.position_id <= :last
    GROUP BY h.job_id, p.holes
    HAVING NOT range_agg(daterange(h.first_date, h.last_date, '[]')) && p.holes
) resolved
WHERE j.job_id = resolved.job_id AND j.status IN ('WAITING_FOR_DATA', 'FAILED')
