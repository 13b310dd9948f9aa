-- End the jobs of corrected positions with which the new epoch is done: jobs that failed, and jobs
-- whose holes are all due again or on dates on which the position is not open any more.
--
-- The fan-out does it for the positions that it invalidates. A job of the new epoch need not come:
-- a position that is closed on all its dates has none.
UPDATE portfolio_valuation_jobs j
SET status = 'SUPERSEDED', finished_at = COALESCE(j.finished_at, now()), is_open = false
FROM (
    SELECT h.job_id
    FROM changed_positions c
    JOIN position_state p USING (position_id)
    JOIN position_holes h USING (position_id)
    WHERE c.is_correction AND h.epoch < p.epoch
    GROUP BY h.job_id, p.holes
    HAVING NOT range_agg(daterange(h.first_date, h.last_date, '[]')) && p.holes
    UNION
    SELECT w.job_id
    FROM dead_letters d
    JOIN portfolio_valuation_jobs w USING (job_id)
    JOIN changed_positions c ON c.position_id = d.position_id
    WHERE c.is_correction AND w.valued_through IS NULL
) ended
WHERE j.job_id = ended.job_id AND j.status IN ('WAITING_FOR_DATA', 'FAILED')
