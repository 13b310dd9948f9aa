-- How many position-days have at least one snapshot, of any epoch.
SELECT COALESCE(sum(n), 0)::bigint
FROM (
    SELECT (SELECT count(DISTINCT s.date) FROM daily_position_snapshots s
            WHERE s.position_id = p.position_id) AS n
    FROM position_state p
) per_position
