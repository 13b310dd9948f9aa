-- The pending dates of positions whose current epoch is not staged.
SELECT position_id, lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM (
    SELECT position_id, unnest(pending) AS dates
    FROM position_state
    WHERE position_id BETWEEN :first_position AND :last_position AND staged_epoch <> epoch
) spans
