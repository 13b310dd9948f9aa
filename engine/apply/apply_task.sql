-- Apply what one task has valued: remove its dates from what is pending, add those without a value
-- to the holes, and publish the positions that are complete. Its jobs are then no longer open.
--
-- A position whose epoch is published already shows new holes at once. A date that was withdrawn
-- counts again when it is valued again, if it is a business day.
-- left: positions that another transaction has locked; nothing is applied to them, and their jobs
-- stay open.
--
-- A job is one publication if each of its positions publishes by it alone, changes nothing of what
-- it publishes but the epoch, and was invalidated at the same moments as the others. All others
-- have rows of their own. A position publishes an epoch once in a transaction, before it shows new
-- holes of it: that INSERT meets no row of its own, and is without ON CONFLICT, which costs more
-- for each row.
-- Positions from :first_position to :last_position are those of the task, and perhaps others: where
-- it is dense, reading the whole range once is cheaper than one lookup per position.
WITH spans AS MATERIALIZED (
    SELECT j.job_id, u.position_id, u.epoch,
           daterange(u.first_date, LEAST(u.last_date, j.valued_through), '[]') AS dates,
           u.position_id = ANY (:left::bigint[]) AS is_left
    FROM portfolio_valuation_jobs j
    CROSS JOIN LATERAL unnest(j.positions, j.epochs, j.first_dates, j.last_dates)
        AS u (position_id, epoch, first_date, last_date)
    WHERE j.task_id = :task AND j.is_open AND j.valued_through IS NOT NULL
), valued AS (
    SELECT position_id, epoch, range_agg(dates) AS dates,
           CASE WHEN min(job_id) = max(job_id) THEN min(job_id) END AS job_id
    FROM spans
    WHERE NOT is_left
    GROUP BY position_id, epoch
), lacking AS (
    SELECT h.position_id, h.epoch,
           range_agg(daterange(h.first_date, h.last_date, '[]')) AS holes
    FROM portfolio_valuation_jobs j
    JOIN position_holes h USING (job_id)
    WHERE j.task_id = :task AND j.is_open AND j.status <> 'COMPLETE'
    GROUP BY h.position_id, h.epoch
), applied AS (
    UPDATE position_state p
    SET pending = p.pending - v.dates,
        holes = p.holes + v.holes,
        published_epoch = CASE WHEN p.pending <@ v.dates
                               THEN p.epoch ELSE p.published_epoch END,
        published_open_dates = CASE WHEN p.pending <@ v.dates
                                    THEN p.open_dates ELSE p.published_open_dates END,
        withdrawn = p.withdrawn - v.valued_again,
        published_hidden = CASE
            WHEN p.pending <@ v.dates OR p.published_epoch = p.epoch
            THEN p.holes + v.holes + (p.withdrawn - v.valued_again)
            ELSE p.published_hidden END
    FROM (
        SELECT v.position_id, v.epoch, v.dates, v.job_id, COALESCE(l.holes, '{}') AS holes,
               w.published_epoch AS was_published, w.published_open_dates AS was_open,
               w.published_hidden AS was_hidden,
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
              p.stale_moment, p.invalidated_moment, v.was_published, v.was_hidden, v.job_id,
              p.published_open_dates = v.was_open AND p.published_hidden = v.was_hidden AS is_plain
), one_publication AS (
    SELECT s.job_id, min(a.stale_moment) AS stale_moment,
           min(a.invalidated_moment) AS invalidated_moment
    FROM spans s
    LEFT JOIN applied a ON a.position_id = s.position_id AND a.job_id = s.job_id
    GROUP BY s.job_id
    HAVING bool_and(a.is_plain IS TRUE AND a.published_epoch > a.was_published)
       AND count(a.stale_moment) IN (0, count(*))
       AND count(a.invalidated_moment) IN (0, count(*))
       AND min(a.stale_moment) IS NOT DISTINCT FROM max(a.stale_moment)
       AND min(a.invalidated_moment) IS NOT DISTINCT FROM max(a.invalidated_moment)
), closed AS (
    UPDATE portfolio_valuation_jobs j
    SET is_open = d.is_left,
        published_moment = CASE WHEN d.is_published THEN (SELECT current_moment()) END,
        stale_moment = d.stale_moment,
        invalidated_moment = d.invalidated_moment
    FROM (
        SELECT s.job_id, s.is_left, o.job_id IS NOT NULL AS is_published, o.stale_moment,
               o.invalidated_moment
        FROM (SELECT job_id, bool_or(is_left) AS is_left FROM spans GROUP BY job_id) s
        LEFT JOIN one_publication o USING (job_id)
    ) d
    WHERE j.job_id = d.job_id
), published AS (
    INSERT INTO publications
        (position_id, moment_id, epoch, open_dates, hidden, stale_moment, invalidated_moment)
    SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
           published_hidden, stale_moment, invalidated_moment
    FROM applied
    WHERE published_epoch > was_published
      AND COALESCE(job_id, 0) NOT IN (SELECT job_id FROM one_publication)
)
INSERT INTO publications (position_id, moment_id, epoch, open_dates, hidden)
SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
       published_hidden
FROM applied
WHERE published_epoch = was_published AND published_hidden <> was_hidden
ON CONFLICT (position_id, moment_id) DO UPDATE SET hidden = excluded.hidden
