-- How many files and rows the lake has, their bytes, and between which dates the rows lie.
SELECT count(*) AS files, COALESCE(sum(row_count), 0)::bigint AS rows,
       COALESCE(sum(byte_count), 0)::bigint AS bytes, min(lower(dates)) AS first_date,
       max(upper(dates)) - 1 AS last_date
FROM lake_files
