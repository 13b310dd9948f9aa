WITH valued AS (
    SELECT j.position_id, j.epoch, range_agg(daterange(j.first_date, j.valued_through, '[]')) AS dates
    FROM unnest(:tasks::bigint[], :first_jobs::bigint[], :last_jobs::bigint[]) AS t (task_id, first_job, last_job)
    JOIN portfolio_valuation_jobs j ON j.job_id BETWEEN t.first_job AND t.last_job AND j.task_id = t.task_id
    WHERE j.valued_through IS NOT NULL
    GROUP BY j.position_id, j.epoch
)
UPDATE position_state p
SET pending = p.pending - v.dates,
    published_epoch = CASE WHEN isempty(p.pending - v.dates) THEN p.epoch ELSE p.published_epoch END,
    published_open_dates = CASE WHEN isempty(p.pending - v.dates) THEN p.open_dates ELSE p.published_open_dates END
FROM valued v
WHERE p.position_id = v.position_id AND p.epoch = v.epoch
