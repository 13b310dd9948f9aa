-- The retention floor (NULL: nothing was ever pruned), the database's clock, and the greatest
-- position id.
SELECT (SELECT floor FROM retention) AS floor, clock_timestamp() AS now,
       (SELECT COALESCE(max(position_id), 0) FROM position_state) AS last_position
