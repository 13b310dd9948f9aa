-- Delete up to :most dead letters whose job was tried again at or before the floor. Unless
-- :deletes, only count all of them.
WITH gone AS MATERIALIZED (
    SELECT dead_letter_id, pg_column_size(d.*) AS bytes
    FROM dead_letters d
    WHERE requeued_at <= :floor::timestamptz
    LIMIT CASE WHEN :deletes THEN :most::bigint END
), deleted AS (
    DELETE FROM dead_letters d USING gone g
    WHERE :deletes AND d.dead_letter_id = g.dead_letter_id
)
SELECT count(*) AS rows, COALESCE(sum(bytes), 0)::bigint AS bytes FROM gone
