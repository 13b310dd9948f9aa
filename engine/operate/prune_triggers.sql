-- Look at the next :most corrections after :after, and delete those that were fanned out at the
-- floor, except :causes. Unless :deletes, only count them. last_trigger is NULL when none is left.
--
-- A correction of a position invalidates it in its own transaction. It needs no moment of a
-- fan-out: a trigger that was never queued, or was fanned out before there were moments, has none.
WITH page AS MATERIALIZED (
    SELECT t.trigger_id, t.fanned_out_at, t.fanned_out_moment, t.moment_id,
           pg_column_size(t.*) AS bytes
    FROM reprocessing_triggers t
    WHERE t.trigger_id > :after
    ORDER BY t.trigger_id
    LIMIT :most
), gone AS MATERIALIZED (
    SELECT p.trigger_id, p.bytes
    FROM page p
    LEFT JOIN moments m ON m.moment_id = p.moment_id
    LEFT JOIN moments f ON f.moment_id = p.fanned_out_moment
    WHERE p.fanned_out_at <= :floor::timestamptz
      AND COALESCE(m.at, '-infinity') <= :floor::timestamptz
      AND COALESCE(f.at, '-infinity') <= :floor::timestamptz
      AND p.trigger_id <> ALL (:causes::bigint[])
), deleted AS (
    DELETE FROM reprocessing_triggers t USING gone g
    WHERE :deletes AND t.trigger_id = g.trigger_id
)
SELECT (SELECT max(trigger_id) FROM page) AS last_trigger,
       (SELECT count(*) FROM gone) AS rows,
       (SELECT COALESCE(sum(bytes), 0)::bigint FROM gone) AS bytes
