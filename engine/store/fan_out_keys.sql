WITH reached AS (
    SELECT r.position_id, range_agg(r.dates) AS dates, max(r.trigger_id) AS trigger_id, min(t.moment_id) AS moment_id
    FROM trigger_reach r JOIN reprocessing_triggers t USING (trigger_id)
    WHERE trigger_id = ANY (:triggers::bigint[]) AND r.position_id > :cursor
    GROUP BY r.position_id
    ORDER BY r.position_id
    LIMIT :most
), raised AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = r.trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN r.moment_id ELSE p.stale_moment END,
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
