-- Every file that is recorded, oldest first, with the time at which its rows were committed; of a
-- merged file (is_merged) NULL: its rows have their own. floor: the retention floor at which
-- superseded rows were left out.
SELECT l.path, l.row_count, l.byte_count, l.sha256, l.max_epoch, lower(l.dates) AS first_date,
       upper(l.dates) - 1 AS last_date, l.moment_id IS NULL AS is_merged, m.at AS valued_at, l.floor
FROM lake_files l LEFT JOIN moments m USING (moment_id)
ORDER BY l.file_id
