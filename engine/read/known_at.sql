-- The last commit at or before :known_at (NULL: now) that changed what readers see, or NULL before
-- the first one; and whether :known_at is in the future: after the database's clock and after the
-- last commit, which lies after the clock when that was set back.
SELECT (SELECT max(at) FROM moments
        WHERE :known_at::timestamptz IS NULL OR at <= :known_at) AS last_commit,
       COALESCE(
           :known_at::timestamptz > GREATEST(clock_timestamp(), (SELECT max(at) FROM moments)),
           false) AS is_future
