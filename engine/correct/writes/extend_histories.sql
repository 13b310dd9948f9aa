-- Set the open dates of the positions whose history changes after their frontier only. No value
-- exists on those dates, so nothing is invalidated.
--
-- If the position is published, readers see the new open dates at once; else with its next epoch.
WITH extended AS (
    UPDATE position_state p
    SET revision = p.revision + 1,
        open_dates = c.open_dates,
        published_open_dates = CASE WHEN p.published_epoch = p.epoch THEN c.open_dates
                                    ELSE p.published_open_dates END
    FROM changed_positions c
    WHERE p.position_id = c.position_id AND NOT c.is_correction
    RETURNING p.position_id, p.published_epoch, p.published_open_dates, p.published_hidden,
              c.opens_or_closes AND p.published_epoch = p.epoch AS is_seen
), published AS (
    INSERT INTO publications (position_id, moment_id, epoch, open_dates, hidden)
    SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
           published_hidden
    FROM extended
    WHERE is_seen
    ON CONFLICT (position_id, moment_id) DO UPDATE
    SET epoch = excluded.epoch, open_dates = excluded.open_dates, hidden = excluded.hidden
)
SELECT count(*) FROM extended
