-- The files that may have snapshots of positions from :first_position to :last_position on dates
-- from :first_date to :last_date (all included), as far as they were committed at :known_at (NULL:
-- now). positions: if it is not NULL, of one of these positions.
-- is_merged: its rows have times of their own, and some may be later.
-- is_alone: no other file has rows of any of its positions on any of its dates.
SELECT l.path, l.moment_id IS NULL AS is_merged,
       NOT EXISTS (SELECT FROM lake_files o
                   WHERE o.positions && l.positions AND o.dates && l.dates
                     AND o.file_id <> l.file_id) AS is_alone
FROM lake_files l
WHERE l.positions && int8range(:first_position, :last_position, '[]')
  AND l.dates && daterange(:first_date, :last_date, '[]')
  AND (:positions::bigint[] IS NULL
       OR EXISTS (SELECT FROM unnest(:positions::bigint[]) AS p (position_id)
                  WHERE l.positions @> p.position_id))
  AND (:known_at::timestamptz IS NULL OR l.valued_from <= :known_at
       OR EXISTS (SELECT FROM moments m WHERE m.moment_id = l.moment_id AND m.at <= :known_at))
ORDER BY l.file_id
