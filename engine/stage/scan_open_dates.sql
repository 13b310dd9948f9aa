-- The open spans of positions that have more than one; scan_positions returns the others.
SELECT position_id, lower(dates) AS first_date,
       CASE WHEN NOT upper_inf(dates) THEN upper(dates) - 1 END AS last_date
FROM (
    SELECT position_id, unnest(open_dates) AS dates
    FROM position_state
    WHERE position_id BETWEEN :first_position AND :last_position
      AND open_dates <> datemultirange(range_merge(open_dates))
) spans
