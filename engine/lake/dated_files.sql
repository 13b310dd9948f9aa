-- The files that may have rows of :position on :date, with the time at which each was committed; of
-- a merged file NULL: its rows have their own.
SELECT l.path, m.at
FROM lake_files l LEFT JOIN moments m USING (moment_id)
WHERE l.positions @> :position::bigint AND l.dates @> :date::date
ORDER BY l.file_id
