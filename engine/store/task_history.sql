-- The facts in force on the dates of the task: from the last one at or before its first date, and the one before that,
-- which says whether a quantity of 0 closes anything.
SELECT h.position_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis
FROM (
    SELECT j.position_id, p.history_epoch, min(COALESCE(j.valued_through + 1, j.first_date)) AS first_date,
           max(j.last_date) AS last_date
    FROM portfolio_valuation_jobs j
    JOIN position_state p ON p.position_id = j.position_id AND p.epoch = j.epoch
    WHERE j.job_id BETWEEN :first_job AND :last_job
      AND CASE WHEN j.task_id = :task AND j.status = 'PROCESSING' THEN true END
    GROUP BY j.position_id, p.history_epoch
) k
CROSS JOIN LATERAL (
    (SELECT * FROM position_history h
     WHERE h.position_id = k.position_id AND h.epoch = k.history_epoch
       AND h.position_date > k.first_date AND h.position_date <= k.last_date AND k.first_date < k.last_date)
    UNION ALL
    (SELECT * FROM position_history h
     WHERE h.position_id = k.position_id AND h.epoch = k.history_epoch AND h.position_date <= k.first_date
     ORDER BY h.position_date DESC LIMIT 2)
) h
