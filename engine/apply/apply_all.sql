-- Apply what was valued of every position that has pending dates, and publish the positions that
-- are complete. A scheduler runs it when it begins.
--
-- The same as apply_task, from all positions instead of one task's jobs: a common statement would
-- have to read all positions for each task.
WITH valued AS (
    SELECT j.position_id, j.epoch, p.published_epoch AS was_published,
           range_agg(daterange(j.first_date, j.valued_through, '[]')) AS dates
    FROM position_state p
    JOIN portfolio_valuation_jobs j ON j.position_id = p.position_id AND j.epoch = p.epoch
    WHERE NOT isempty(p.pending) AND j.valued_through IS NOT NULL
    GROUP BY j.position_id, j.epoch, p.published_epoch
), applied AS (
    UPDATE position_state p
    SET pending = p.pending - v.dates,
        published_epoch = CASE WHEN isempty(p.pending - v.dates)
                               THEN p.epoch ELSE p.published_epoch END,
        published_open_dates = CASE WHEN isempty(p.pending - v.dates)
                                    THEN p.open_dates ELSE p.published_open_dates END
    FROM valued v
    WHERE p.position_id = v.position_id AND p.epoch = v.epoch
    RETURNING p.position_id, p.published_epoch, p.published_open_dates, p.stale_moment,
              v.was_published
)
INSERT INTO publications (position_id, moment_id, epoch, open_dates, stale_moment)
SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates, stale_moment
FROM applied
WHERE published_epoch > was_published
ON CONFLICT (position_id, moment_id) DO UPDATE
SET epoch = excluded.epoch, open_dates = excluded.open_dates, stale_moment = excluded.stale_moment
