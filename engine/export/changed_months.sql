-- The months, by their first days, from :first_date to :last_date in which readers may see another
-- number than at :since.
--
-- No snapshot is read, in whichever store it is: each was written by a job, whose spans say of
-- which dates it is. A number appears when its job commits it under a published epoch, or publishes
-- its epoch (worked). It also appears when another job or a publication of the position publishes
-- its epoch: that job has worked since :reaches_back (waited). A number vanishes, or one of before
-- comes back, when the dates change on which the position shows numbers.
WITH recent AS MATERIALIZED (
    SELECT moment_id FROM moments WHERE at > :since::timestamptz
), worked AS MATERIALIZED (
    SELECT u.position_id, u.epoch, u.first_date, u.last_date, j.published_moment
    FROM portfolio_valuation_jobs j
    CROSS JOIN LATERAL unnest(j.positions, j.epochs, j.first_dates, j.last_dates)
        AS u (position_id, epoch, first_date, last_date)
    WHERE j.moment_id IN (SELECT moment_id FROM recent)
       OR j.published_moment IN (SELECT moment_id FROM recent)
), republished AS MATERIALIZED (
    SELECT n.position_id, w.epoch AS epoch_before, w.open_dates - w.hidden AS shown_before,
           p.published_open_dates - p.published_hidden AS shown
    FROM (SELECT position_id FROM publications
          WHERE moment_id IN (SELECT moment_id FROM recent)
          UNION
          SELECT position_id FROM worked WHERE published_moment IS NOT NULL) n
    JOIN position_state p USING (position_id)
    CROSS JOIN LATERAL (
        SELECT b.epoch, b.open_dates, b.hidden
        FROM publications b JOIN moments m USING (moment_id)
        WHERE b.position_id = n.position_id AND m.at <= :since
        ORDER BY m.at DESC
        LIMIT 1
    ) w
), waited AS (
    SELECT u.position_id, u.epoch, u.first_date, u.last_date
    FROM portfolio_valuation_jobs j
    CROSS JOIN LATERAL unnest(j.positions, j.epochs, j.first_dates, j.last_dates)
        AS u (position_id, epoch, first_date, last_date)
    JOIN republished r ON r.position_id = u.position_id AND u.epoch > r.epoch_before
    WHERE j.published_moment IS NULL
      AND j.moment_id IN (SELECT moment_id FROM moments
                          WHERE at > :reaches_back::timestamptz AND at <= :since)
), changed AS (
    SELECT datemultirange(daterange(s.first_date, s.last_date, '[]'))
           * (p.published_open_dates - p.published_hidden) AS dates
    FROM (SELECT position_id, epoch, first_date, last_date FROM worked UNION ALL TABLE waited) s
    JOIN position_state p USING (position_id)
    WHERE s.epoch <= p.published_epoch
    UNION ALL
    SELECT (shown_before - shown) + (shown - shown_before) FROM republished
)
SELECT DISTINCT date_trunc('month', d.day)::date AS month
FROM (SELECT DISTINCT
             dates * datemultirange(daterange(:first_date::date, :last_date::date, '[]')) AS dates
      FROM changed) c
CROSS JOIN LATERAL unnest(c.dates) AS r (dates)
CROSS JOIN LATERAL generate_series(
    date_trunc('month', lower(r.dates)::timestamp), (upper(r.dates) - 1)::timestamp, '1 month')
    AS d (day)
ORDER BY month
