-- Keep counts for all who ask, in place of those that were kept before, unless those are newer.
INSERT INTO kept_counts AS kept (made_at, counts)
VALUES (:made_at, :counts)
ON CONFLICT (singleton) DO UPDATE SET made_at = excluded.made_at, counts = excluded.counts
WHERE kept.made_at < excluded.made_at
