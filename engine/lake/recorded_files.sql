-- Every file that is recorded.
SELECT path, row_count, byte_count, lower(dates) AS first_date, upper(dates) - 1 AS last_date
FROM lake_files
ORDER BY file_id
