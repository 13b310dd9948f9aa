-- Delete up to :most records of fenced attempts that are not after the floor. Unless :deletes, only
-- count all of them.
WITH gone AS MATERIALIZED (
    SELECT fenced_attempt_id, pg_column_size(a.*) AS bytes
    FROM fenced_attempts a
    WHERE fenced_at <= :floor::timestamptz
    LIMIT CASE WHEN :deletes THEN :most::bigint END
), deleted AS (
    DELETE FROM fenced_attempts a USING gone g
    WHERE :deletes AND a.fenced_attempt_id = g.fenced_attempt_id
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM gone
