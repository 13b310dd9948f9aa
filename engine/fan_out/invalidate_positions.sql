-- Invalidate the affected positions of one page: raise their epoch and mark the affected dates as
-- pending. A position for which jobs were proposed (staged_positions, staged_jobs), and which was
-- not changed since, is staged at the same time; the others wait for the scan.
--
-- NOT IN is hashed, whatever the planner estimates. It estimates few staged positions, and an anti
-- join would loop over all of them for each affected position.
-- Jobs are inserted as in stage/create_jobs.sql. One statement for both would have to find the rows
-- updated here by their xmin.
WITH staged AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = k.trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN k.moment_id
                            ELSE p.stale_moment END,
        staged_epoch = p.epoch + 1,
        pending = k.dates
    FROM (
        SELECT k.position_id, k.revision, k.trigger_id, t.moment_id,
               COALESCE(s.dates, datemultirange(daterange(k.first_date, k.last_date, '[]')))
                   AS dates
        FROM staged_positions k
        JOIN reprocessing_triggers t ON t.trigger_id = k.first_trigger_id
        LEFT JOIN (
            SELECT position_id, range_agg(daterange(j.first_date, j.last_date, '[]')) AS dates
            FROM staged_jobs j
            JOIN staged_positions several USING (position_id)
            WHERE several.first_date IS NULL
            GROUP BY position_id
        ) s USING (position_id)
    ) k
    WHERE p.position_id = k.position_id AND p.revision = k.revision
      AND p.position_id > :cursor AND p.position_id <= :last
    RETURNING p.position_id, p.epoch, p.trigger_id
), invalidated AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = r.last_trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN (
                                SELECT t.moment_id FROM reprocessing_triggers t
                                WHERE t.trigger_id = r.first_trigger_id)
                            ELSE p.stale_moment END,
        pending = p.pending
                  + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]')) * p.open_dates
    FROM (
        SELECT r.position_id, range_agg(r.dates) AS dates,
               max(r.last_trigger_id) AS last_trigger_id,
               min(r.first_trigger_id) AS first_trigger_id
        FROM merged_reach(:triggers::bigint[], :firsts::bigint[]) r
        WHERE r.position_id > :cursor AND r.position_id <= :last
          AND r.position_id NOT IN (SELECT position_id FROM staged)
        GROUP BY r.position_id
    ) r
    WHERE p.position_id = r.position_id AND p.position_id > :cursor AND p.position_id <= :last
      AND NOT isempty(
              r.dates
              * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]'))
              * p.open_dates)
    RETURNING 1
), jobs AS (
    INSERT INTO portfolio_valuation_jobs
        (job_id, position_id, epoch, first_date, last_date, attempt_count, lane, status, term,
         task_id, trigger_id)
    SELECT j.job_id, j.position_id, s.epoch, j.first_date, j.last_date, 1, 'HISTORY',
           'PROCESSING', :term, j.task_id, s.trigger_id
    FROM staged_jobs j
    JOIN staged s USING (position_id)
    ORDER BY j.job_id
    RETURNING 1
)
SELECT (SELECT count(*) FROM staged) AS staged,
       (SELECT count(*) FROM invalidated) AS invalidated_only,
       (SELECT count(*) FROM jobs) AS jobs
