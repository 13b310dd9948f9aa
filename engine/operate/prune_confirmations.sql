-- Delete up to :most confirmations that were withdrawn at the floor: no list that can be asked for
-- has them. Those in force stay, however old. Unless :deletes, only count all of them.
WITH gone AS MATERIALIZED (
    SELECT c.confirmation_id, pg_column_size(c.*) AS bytes
    FROM confirmations c
    JOIN moments m ON m.moment_id = c.withdrawn_moment
    WHERE m.at <= :floor::timestamptz
    LIMIT CASE WHEN :deletes THEN :most::bigint END
), deleted AS (
    DELETE FROM confirmations c USING gone g
    WHERE :deletes AND c.confirmation_id = g.confirmation_id
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM gone
