-- The last commit at or before :known_at (NULL: now) that changed what readers see, or NULL before
-- the first one; whether :known_at is in the future: after the database's clock and after the last
-- commit, which lies after the clock when that was set back; and the retention floor (NULL: there
-- is none) if :known_at is before it.
--
-- The last commit is never before the floor: nothing changed until then, and an earlier time could
-- not be asked for.
SELECT GREATEST(
           (SELECT max(at) FROM moments WHERE :known_at::timestamptz IS NULL OR at <= :known_at),
           (SELECT floor FROM retention)) AS last_commit,
       COALESCE(
           :known_at::timestamptz > GREATEST(clock_timestamp(), (SELECT max(at) FROM moments)),
           false) AS is_future,
       (SELECT floor FROM retention WHERE :known_at::timestamptz < floor) AS passed_floor
