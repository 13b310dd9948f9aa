-- The newest load that begins with the given words, and that was not taken back (NULL: none).
--
-- Taken back is a load that another one reverts, unless that one was taken back itself.
SELECT max(l.load_id)
FROM loads l
WHERE l.kind = 'positions' AND starts_with(l.source, :words)
  AND NOT EXISTS (
      SELECT FROM loads r
      WHERE r.reverts = l.load_id
        AND NOT EXISTS (SELECT FROM loads a WHERE a.reverts = r.load_id))
