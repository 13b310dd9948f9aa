-- The last commit at or before :known_at (NULL: now) that changed what readers see, or NULL before
-- the first one; and whether :known_at is in the future of the database's clock.
SELECT (SELECT max(at) FROM moments
        WHERE :known_at::timestamptz IS NULL OR at <= :known_at) AS last_commit,
       COALESCE(:known_at::timestamptz > clock_timestamp(), false) AS is_future
