UPDATE position_state p
SET revision = p.revision + 1,
    open_dates = c.open_dates,
    published_open_dates = CASE WHEN p.published_epoch >= p.history_epoch THEN c.open_dates
                                ELSE p.published_open_dates END
FROM changed_keys c
WHERE p.position_id = c.position_id AND NOT c.is_correction
