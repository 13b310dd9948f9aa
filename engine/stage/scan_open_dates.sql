-- The open spans of positions that have more than one, of those in the runs of ids from :firsts to
-- :lasts; scan_positions returns the others.
SELECT position_id, lower(dates) AS first_date,
       CASE WHEN NOT upper_inf(dates) THEN upper(dates) - 1 END AS last_date
FROM (
    SELECT p.position_id, unnest(p.open_dates) AS dates
    FROM unnest(:firsts::bigint[], :lasts::bigint[]) AS run (first_position, last_position)
    JOIN position_state p ON p.position_id BETWEEN run.first_position AND run.last_position
    WHERE p.open_dates <> datemultirange(range_merge(p.open_dates))
) spans
