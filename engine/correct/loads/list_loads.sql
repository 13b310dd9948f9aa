-- The newest :most loads, of one kind or (NULL) of all, that are older than :before (NULL: any).
SELECT load_id, loaded_at, database_user, client, kind, source, rows, inserted, changed, unchanged,
       removed, closed, trigger_ids, reverts, moment_id IS NOT NULL AS is_revertible
FROM loads
WHERE (:kind::text IS NULL OR kind = :kind)
  AND (:before::bigint IS NULL OR load_id < :before)
ORDER BY load_id DESC
LIMIT :most::integer
