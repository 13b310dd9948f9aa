-- Apply what was valued of every position that has pending dates, and publish the positions that
-- are complete. A scheduler runs it when it begins. :positions: only of these; NULL: of all.
--
-- The same as apply_task, from all positions instead of one task's jobs: a common statement would
-- have to read all positions for each task.
WITH valued AS (
    SELECT j.position_id, j.epoch, p.published_epoch AS was_published,
           p.published_hidden AS was_hidden, p.withdrawn, p.calendar_no,
           range_agg(daterange(j.first_date, j.valued_through, '[]')) AS dates
    FROM position_state p
    JOIN portfolio_valuation_jobs j ON j.position_id = p.position_id AND j.epoch = p.epoch
    WHERE NOT isempty(p.pending) AND j.valued_through IS NOT NULL
      AND (:positions::bigint[] IS NULL OR p.position_id = ANY (:positions::bigint[]))
    GROUP BY j.position_id, j.epoch, p.published_epoch, p.published_hidden, p.withdrawn,
             p.calendar_no
), lacking AS (
    SELECT h.position_id, h.epoch,
           range_agg(daterange(h.first_date, h.last_date, '[]')) AS holes
    FROM valued v
    JOIN position_holes h USING (position_id, epoch)
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
        SELECT v.*, COALESCE(l.holes, '{}') AS holes,
               CASE WHEN isempty(v.withdrawn) THEN '{}'
                    ELSE business_days_among(v.calendar_no, v.withdrawn * v.dates)
                    END AS valued_again
        FROM valued v
        LEFT JOIN lacking l USING (position_id, epoch)
    ) v
    WHERE p.position_id = v.position_id AND p.epoch = v.epoch
    RETURNING p.position_id, p.published_epoch, p.published_open_dates, p.published_hidden,
              p.stale_moment, p.invalidated_moment, v.was_published, v.was_hidden
)
INSERT INTO publications
    (position_id, moment_id, epoch, open_dates, hidden, stale_moment, invalidated_moment)
SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
       published_hidden, CASE WHEN published_epoch > was_published THEN stale_moment END,
       CASE WHEN published_epoch > was_published THEN invalidated_moment END
FROM applied
WHERE published_epoch > was_published OR published_hidden <> was_hidden
ON CONFLICT (position_id, moment_id) DO UPDATE
SET epoch = excluded.epoch, open_dates = excluded.open_dates, hidden = excluded.hidden,
    stale_moment = COALESCE(excluded.stale_moment, publications.stale_moment),
    invalidated_moment = COALESCE(excluded.invalidated_moment, publications.invalidated_moment)
