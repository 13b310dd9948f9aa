-- Apply what one task has valued: remove the dates from what is pending, and publish the positions
-- that are complete.
--
-- CASE and the range of positions: see value/jobs.sql.
WITH valued AS (
    SELECT j.position_id, j.epoch,
           range_agg(daterange(j.first_date, j.valued_through, '[]')) AS dates
    FROM portfolio_valuation_jobs j
    WHERE j.job_id BETWEEN :first_job AND :last_job
      AND CASE WHEN j.task_id = :task AND j.valued_through IS NOT NULL THEN true END
    GROUP BY j.position_id, j.epoch
), applied AS (
    UPDATE position_state p
    SET pending = p.pending - v.dates,
        published_epoch = CASE WHEN isempty(p.pending - v.dates)
                               THEN p.epoch ELSE p.published_epoch END,
        published_open_dates = CASE WHEN isempty(p.pending - v.dates)
                                    THEN p.open_dates ELSE p.published_open_dates END
    FROM valued v
    JOIN position_state w USING (position_id)
    WHERE p.position_id = v.position_id AND p.epoch = v.epoch
      AND p.position_id BETWEEN :first_position AND :last_position
      AND w.position_id BETWEEN :first_position AND :last_position
    RETURNING p.position_id, p.published_epoch, p.published_open_dates, p.stale_moment,
              w.published_epoch AS was_published
)
INSERT INTO publications (position_id, moment_id, epoch, open_dates, stale_moment)
SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates, stale_moment
FROM applied
WHERE published_epoch > was_published
ON CONFLICT (position_id, moment_id) DO UPDATE
SET epoch = excluded.epoch, open_dates = excluded.open_dates, stale_moment = excluded.stale_moment
