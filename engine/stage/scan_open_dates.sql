-- When positions are open that are so more than once (those that are so once: see scan_keys).
SELECT position_id, lower(dates) AS first_date, CASE WHEN NOT upper_inf(dates) THEN upper(dates) - 1 END AS last_date
FROM (
    SELECT position_id, unnest(open_dates) AS dates
    FROM position_state
    WHERE position_id BETWEEN :first_position AND :last_position AND open_dates <> datemultirange(range_merge(open_dates))
) spans
