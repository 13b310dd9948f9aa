-- A load, and the newest one that has taken it back (NULL: none has).
SELECT l.kind, l.source, l.loaded_at, l.moment_id IS NOT NULL AS is_revertible,
       l.inserted + l.changed + l.removed + l.closed > 0 AS has_written,
       (SELECT max(r.load_id) FROM loads r WHERE r.reverts = l.load_id) AS reverted_by
FROM loads l
WHERE l.load_id = :load
