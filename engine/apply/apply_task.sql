-- Apply what one task has valued: remove its dates from what is pending, add those without a value
-- to the holes, and publish the positions that are complete.
--
-- A position whose epoch is published already shows new holes at once. A date that was withdrawn
-- counts again when it is valued again, if it is a business day.
-- left: positions that another transaction has locked; nothing is applied to them.
-- A position publishes an epoch once in a transaction, before it shows new holes of it: that INSERT
-- meets no row of its own, and is without ON CONFLICT, which costs more for each row.
-- CASE and the range of positions: see value/jobs.sql. Both sides of a join of jobs are bounded by
-- their numbers; else it reads all jobs ever made.
WITH valued AS (
    SELECT j.position_id, j.epoch,
           range_agg(daterange(j.first_date, j.valued_through, '[]')) AS dates
    FROM portfolio_valuation_jobs j
    WHERE j.job_id BETWEEN :first_job AND :last_job
      AND CASE WHEN j.task_id = :task AND j.valued_through IS NOT NULL THEN true END
      AND j.position_id <> ALL (:left::bigint[])
    GROUP BY j.position_id, j.epoch
), lacking AS (
    SELECT h.position_id, h.epoch,
           range_agg(daterange(h.first_date, h.last_date, '[]')) AS holes
    FROM position_holes h
    JOIN portfolio_valuation_jobs j USING (job_id)
    WHERE h.job_id BETWEEN :first_job AND :last_job
      AND j.job_id BETWEEN :first_job AND :last_job AND j.task_id = :task
    GROUP BY h.position_id, h.epoch
), applied AS (
    UPDATE position_state p
    SET pending = p.pending - v.dates,
        holes = p.holes + v.holes,
        published_epoch = CASE WHEN isempty(p.pending - v.dates)
                               THEN p.epoch ELSE p.published_epoch END,
        published_open_dates = CASE WHEN isempty(p.pending - v.dates)
                                    THEN p.open_dates ELSE p.published_open_dates END,
        withdrawn = p.withdrawn - v.valued_again,
        published_hidden = CASE
            WHEN isempty(p.pending - v.dates) OR p.published_epoch = p.epoch
            THEN p.holes + v.holes + (p.withdrawn - v.valued_again)
            ELSE p.published_hidden END
    FROM (
        SELECT v.position_id, v.epoch, v.dates, COALESCE(l.holes, '{}') AS holes,
               w.published_epoch AS was_published, w.published_hidden AS was_hidden,
               CASE WHEN isempty(w.withdrawn) THEN '{}'
                    ELSE business_days_among(w.calendar_no, w.withdrawn * v.dates)
                    END AS valued_again
        FROM valued v
        LEFT JOIN lacking l USING (position_id, epoch)
        JOIN position_state w USING (position_id)
        WHERE w.position_id BETWEEN :first_position AND :last_position
    ) v
    WHERE p.position_id = v.position_id AND p.epoch = v.epoch
      AND p.position_id BETWEEN :first_position AND :last_position
    RETURNING p.position_id, p.published_epoch, p.published_open_dates, p.published_hidden,
              p.stale_moment, p.invalidated_moment, v.was_published, v.was_hidden
), published AS (
    INSERT INTO publications
        (position_id, moment_id, epoch, open_dates, hidden, stale_moment, invalidated_moment)
    SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
           published_hidden, stale_moment, invalidated_moment
    FROM applied
    WHERE published_epoch > was_published
)
INSERT INTO publications (position_id, moment_id, epoch, open_dates, hidden)
SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
       published_hidden
FROM applied
WHERE published_epoch = was_published AND published_hidden <> was_hidden
ON CONFLICT (position_id, moment_id) DO UPDATE SET hidden = excluded.hidden
