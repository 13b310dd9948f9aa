-- The pending dates of positions whose current epoch is not staged, of those in the runs of ids
-- from :firsts to :lasts.
SELECT position_id, lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT p.position_id, unnest(p.pending) AS dates
    FROM unnest(:firsts::bigint[], :lasts::bigint[]) AS run (first_position, last_position)
    JOIN position_state p ON p.position_id BETWEEN run.first_position AND run.last_position
    WHERE p.staged_epoch <> p.epoch
) spans
