-- Not `frontier_date IS NOT NULL`: by statistics from before a book's first valuation that is true of no key, and the planner
-- then loops over all keys reached for each.
WITH reached AS (
    SELECT position_id, range_agg(dates) AS dates, max(trigger_id) AS trigger_id, min(trigger_id) AS first_trigger_id
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
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN
            (SELECT t.moment_id FROM reprocessing_triggers t WHERE t.trigger_id = r.first_trigger_id) ELSE p.stale_moment END,
        pending = p.pending + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates
    FROM reached r
    WHERE p.position_id = r.position_id
      AND NOT isempty(r.dates * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')) * p.open_dates)
    RETURNING p.position_id
)
SELECT (SELECT count(*) FROM reached) AS reached,
       (SELECT max(position_id) FROM reached) AS last_position_id,
       (SELECT count(*) FROM raised) AS raised
