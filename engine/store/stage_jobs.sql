-- A key that was changed since the scan, or staged by the other lane (its revision moved), is left for the next scan, with
-- its jobs; so is one whose horizon was closed again.
WITH owed AS (
    SELECT position_id, range_agg(daterange(first_date, last_date, '[]')) AS dates
    FROM staged_jobs
    GROUP BY position_id
), becomes AS (
    SELECT p.position_id, k.horizon, p.published_epoch AS was_published,
           CASE WHEN p.staged_epoch = p.epoch THEN p.pending ELSE '{}' END + COALESCE(o.dates, '{}') AS pending
    FROM staged_keys k
    JOIN position_state p ON p.position_id = k.position_id AND p.revision = k.revision
    JOIN calendars c USING (calendar_no)
    JOIN business_dates d ON d.calendar_id = c.calendar_id AND d.business_date = k.horizon
    LEFT JOIN owed o ON o.position_id = k.position_id
), moved AS (
    UPDATE position_state p
    SET pending = b.pending,
        frontier_date = b.horizon,
        staged_epoch = p.epoch,
        revision = p.revision + 1,
        published_epoch = CASE WHEN isempty(b.pending) THEN p.epoch ELSE p.published_epoch END,
        published_open_dates = CASE WHEN isempty(b.pending) THEN p.open_dates ELSE p.published_open_dates END
    FROM becomes b, staged_keys k
    WHERE p.position_id = b.position_id AND k.position_id = b.position_id AND p.revision = k.revision
    RETURNING p.position_id, p.epoch, p.trigger_id, p.published_epoch, p.published_open_dates, p.stale_moment, b.was_published
), published AS (
    INSERT INTO publications (position_id, moment_id, epoch, open_dates, stale_moment)
    SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates, stale_moment
    FROM moved
    WHERE published_epoch > was_published
)
INSERT INTO portfolio_valuation_jobs
    (job_id, position_id, epoch, first_date, last_date, attempt_count, lane, status, term, task_id, trigger_id)
SELECT j.job_id, j.position_id, m.epoch, j.first_date, j.last_date, 1, :lane::text::valuation_lane, 'PROCESSING',
       :term, j.task_id, m.trigger_id
FROM staged_jobs j JOIN moved m USING (position_id)
ORDER BY j.job_id
