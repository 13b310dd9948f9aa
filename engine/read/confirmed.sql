-- The confirmations of prices and rates on the given dates that are in force now (:known_at NULL),
-- or were at :known_at.
--
-- values_before: the values before, from which the move is confirmed. NULL in it: one that cannot
-- be compared. NULL: from any, as confirmations had it until migration 0036.
--
-- One that is withdrawn by a transaction that is not stamped yet is not withdrawn at any time that
-- can be asked for.
SELECT c.kind, c.subject, c.date, c.value::text AS value, c.values_before::text[] AS values_before,
       c.confirmed_by, c.why
FROM confirmations c
JOIN moments m ON m.moment_id = c.confirmed_moment
LEFT JOIN moments w ON w.moment_id = c.withdrawn_moment
WHERE c.date = ANY (:dates::date[])
  AND CASE WHEN :known_at::timestamptz IS NULL THEN c.withdrawn_moment IS NULL
           ELSE m.at <= :known_at AND COALESCE(w.at > :known_at, true) END
