-- A key for which jobs were proposed (staged_keys, staged_jobs) and that was not changed since is staged with the raise.
-- Not `frontier_date IS NOT NULL`: by statistics from before a book's first valuation that is true of no key, and the planner
-- then loops over all keys reached for each.
WITH reached AS (
    SELECT position_id, range_agg(dates) AS dates, max(trigger_id) AS trigger_id, min(trigger_id) AS first_trigger_id
    FROM trigger_reach
    WHERE trigger_id = ANY (:triggers::bigint[]) AND position_id > :cursor AND position_id <= :last
    GROUP BY position_id
), proposed AS (
    SELECT position_id, k.revision, range_agg(daterange(j.first_date, j.last_date, '[]')) AS dates
    FROM staged_keys k JOIN staged_jobs j USING (position_id)
    GROUP BY position_id, k.revision
), raised AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = r.trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN
            (SELECT t.moment_id FROM reprocessing_triggers t WHERE t.trigger_id = r.first_trigger_id) ELSE p.stale_moment END,
        staged_epoch = CASE WHEN p.revision = r.revision THEN p.epoch + 1 ELSE p.staged_epoch END,
        pending = CASE WHEN p.revision = r.revision THEN r.proposed_dates
                       ELSE p.pending + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates END
    FROM (
        SELECT reached.*, proposed.revision, proposed.dates AS proposed_dates
        FROM reached LEFT JOIN proposed USING (position_id)
    ) r
    WHERE p.position_id = r.position_id
      AND NOT isempty(r.dates * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')) * p.open_dates)
    RETURNING p.position_id, p.epoch, p.trigger_id, p.staged_epoch = p.epoch AS is_staged
), jobs AS (
    INSERT INTO portfolio_valuation_jobs
        (job_id, position_id, epoch, first_date, last_date, attempt_count, lane, status, term, task_id, trigger_id)
    SELECT j.job_id, j.position_id, r.epoch, j.first_date, j.last_date, 1, 'HISTORY', 'PROCESSING', :term, j.task_id,
           r.trigger_id
    FROM staged_jobs j JOIN raised r USING (position_id)
    WHERE r.is_staged
    ORDER BY j.job_id
    RETURNING 1
)
SELECT (SELECT count(*) FROM reached) AS reached,
       (SELECT count(*) FROM raised) AS raised,
       (SELECT count(*) FROM raised WHERE is_staged) AS staged,
       (SELECT count(*) FROM jobs) AS jobs
