-- Delete up to :most records of loads that are not after the floor. Unless :deletes, only count all
-- of them.
WITH gone AS MATERIALIZED (
    SELECT load_id, pg_column_size(l.*) AS bytes
    FROM loads l
    WHERE loaded_at <= :floor::timestamptz
    LIMIT CASE WHEN :deletes THEN :most::bigint END
), deleted AS (
    DELETE FROM loads l USING gone g
    WHERE :deletes AND l.load_id = g.load_id
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM gone
