-- Every file that is recorded. is_merged: its rows have times of their own.
SELECT path, row_count, byte_count, sha256, lower(dates) AS first_date,
       upper(dates) - 1 AS last_date, moment_id IS NULL AS is_merged
FROM lake_files
ORDER BY file_id
