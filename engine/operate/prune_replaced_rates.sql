-- Delete up to :most rows that keep which rates loads have replaced, of loads whose
-- records are deleted. Unless :deletes, count those of loads that are not after the floor.
WITH gone AS MATERIALIZED (
    SELECT k.ctid AS row_id, pg_column_size(k.*) AS bytes
    FROM replaced_rates k
    WHERE NOT EXISTS (
        SELECT FROM loads l
        WHERE l.moment_id = k.moment_id AND l.loaded_at > :floor::timestamptz)
    LIMIT CASE WHEN :deletes THEN :most::bigint END
), deleted AS (
    DELETE FROM replaced_rates k USING gone g
    WHERE :deletes AND k.ctid = g.row_id
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM gone
