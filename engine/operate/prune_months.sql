-- The months of snapshots, the oldest first.
SELECT first_date, end_date FROM snapshot_partitions ORDER BY first_date
