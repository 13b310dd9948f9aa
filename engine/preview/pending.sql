-- The dates that would be pending of the reached positions. At most :limit ranges.
SELECT position_id, lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT position_id, unnest(pending) AS dates
    FROM reached_positions
) spans
LIMIT :limit
