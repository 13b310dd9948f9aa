WITH reached AS (
    SELECT position_id, range_agg(dates) AS dates, max(trigger_id) AS trigger_id
    FROM trigger_reach
    WHERE trigger_id = ANY (:triggers::bigint[]) AND position_id > :cursor
    GROUP BY position_id
    ORDER BY position_id
    LIMIT :most
), raised AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = r.trigger_id,
        pending = p.pending + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates
    FROM reached r
    WHERE p.position_id = r.position_id
      AND p.frontier_date IS NOT NULL
      AND NOT isempty(r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates)
    RETURNING p.position_id
)
SELECT (SELECT count(*) FROM reached) AS reached,
       (SELECT max(position_id) FROM reached) AS last_position_id,
       (SELECT count(*) FROM raised) AS raised
