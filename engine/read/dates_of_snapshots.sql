-- The first and the last date of all snapshots, in PostgreSQL and in the lake; NULL: there is none.
-- in_lake: how many rows the lake has.
SELECT LEAST((SELECT min(date) FROM daily_position_snapshots),
             (SELECT min(lower(dates)) FROM lake_files)) AS first_date,
       GREATEST((SELECT max(date) FROM daily_position_snapshots),
                (SELECT max(upper(dates) - 1) FROM lake_files)) AS last_date,
       (SELECT COALESCE(sum(row_count), 0)::bigint FROM lake_files) AS in_lake
