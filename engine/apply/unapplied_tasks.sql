-- The attempts that have valued something which is not applied, with the bounds of their positions
-- (both included).
SELECT task_id, min(lower(position_range)) AS first_position,
       max(upper(position_range) - 1) AS last_position
FROM portfolio_valuation_jobs
WHERE is_open AND valued_through IS NOT NULL
GROUP BY task_id
ORDER BY task_id
