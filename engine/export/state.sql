-- What an export has to know of the database as it is now, if the table stands for :since (NULL:
-- there is none yet).
--
-- moment: the last commit that changed what readers see; NULL: there was none. owner: the name of
-- the database, which no restored dump has. is_known: whether there was a commit at :since; another
-- past of this database (it was restored to an earlier time) has none.
-- reaches_back: what was published since then was computed since its positions were invalidated,
-- which can be before :since. is_retained: whether what happened from then on is still recorded.
WITH recent AS MATERIALIZED (
    SELECT moment_id FROM moments WHERE at > :since::timestamptz
), back AS (
    SELECT LEAST(:since::timestamptz, min(m.at)) AS at
    FROM moments m
    WHERE m.moment_id IN (
        SELECT invalidated_moment FROM publications
        WHERE moment_id IN (SELECT moment_id FROM recent)
        UNION
        SELECT invalidated_moment FROM portfolio_valuation_jobs
        WHERE published_moment IN (SELECT moment_id FROM recent))
)
SELECT (SELECT max(at) FROM moments) AS moment,
       (SELECT c.system_identifier || '/' || d.oid
        FROM pg_control_system() c, pg_database d
        WHERE d.datname = current_database()) AS owner,
       EXISTS (SELECT FROM moments WHERE at = :since) AS is_known,
       b.at AS reaches_back,
       NOT EXISTS (SELECT FROM retention r WHERE r.floor > b.at) AS is_retained
FROM back b
