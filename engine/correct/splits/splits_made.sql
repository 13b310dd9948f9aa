-- The splits of a security within :reach days of a date that were not taken back as a whole:
-- date, ratio, load, by date.
--
-- A load of this name that has written no record is none: anybody who may load could record it.
-- Dates are compared as text: a file may have a name like one with a date that there is not.
--
-- A split can be taken back, that can be taken back, and so on. Each such load leaves either the
-- split quantities or those of before it, in turn; the newest one that counts says which. One that
-- has kept rows that were changed since has taken back a part only: it does not count where it
-- takes quantities of the split away, and it counts where it brings them back.
WITH RECURSIVE made AS (
    SELECT l.load_id, substr(l.source, length(:words) + 1, 10) AS day,
           substr(l.source, length(:words) + 12) AS ratio
    FROM loads l
    WHERE l.kind = 'positions' AND l.moment_id IS NOT NULL AND starts_with(l.source, :words)
      AND substr(l.source, length(:words) + 1) ~ '^\d{4}-\d\d-\d\d [0-9]+:[0-9]+$'
), follows (split_id, load_id, is_split, is_whole) AS (
    SELECT load_id, load_id, true, true
    FROM made
    WHERE day BETWEEN to_char(:day::date - :reach::integer, 'YYYY-MM-DD')
                  AND to_char(:day::date + :reach::integer, 'YYYY-MM-DD')
    UNION ALL
    SELECT f.split_id, r.load_id, NOT f.is_split,
           f.is_whole AND (r.unchanged = 0 OR NOT f.is_split)
    FROM follows f
    JOIN loads r ON r.reverts = f.load_id
), newest AS (
    SELECT DISTINCT ON (split_id) split_id, is_split
    FROM follows
    WHERE is_split OR is_whole
    ORDER BY split_id, load_id DESC
)
SELECT m.day, m.ratio, m.load_id
FROM newest n
JOIN made m ON m.load_id = n.split_id
WHERE n.is_split
ORDER BY m.day, m.load_id
