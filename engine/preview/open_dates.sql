-- The open spans of reached positions that have more than one. At most :limit.
SELECT position_id, lower(dates) AS first_date,
       CASE WHEN NOT upper_inf(dates) THEN upper(dates) - 1 END AS last_date
FROM (
    SELECT p.position_id, unnest(p.open_dates) AS dates
    FROM reached_positions r
    JOIN position_state p USING (position_id)
    WHERE p.open_dates <> datemultirange(range_merge(p.open_dates))
) spans
LIMIT :limit
