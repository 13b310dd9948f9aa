-- The partitions of daily_position_snapshots with the dates of their rows: from first_date to the
-- day before end_date.
--
-- The bounds are read from the catalogue and do not follow from a date: a partition has a month, or
-- a year of long ago (make_snapshot_partition).
CREATE OR REPLACE VIEW snapshot_partitions AS
SELECT c.oid::regclass AS partition, bounds[1]::date AS first_date, bounds[2]::date AS end_date
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL regexp_match(
    pg_get_expr(c.relpartbound, c.oid), $bounds$FROM \('(.+)'\) TO \('(.+)'\)$bounds$) AS bounds
WHERE i.inhparent = 'daily_position_snapshots'::regclass AND NOT i.inhdetachpending;
