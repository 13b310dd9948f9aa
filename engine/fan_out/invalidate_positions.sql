-- Invalidate the affected positions of one page: raise their epoch and mark the affected dates as
-- pending. A position for which spans were proposed (staged_positions, staged_spans), and which was
-- not changed since, is staged at the same time; the others are noted and wait for the scan.
--
-- stale_moment: the first commit among the corrections that touch the dates of the position. A
-- position that is reprocessing already keeps the earlier one.
-- Dates that were taken out of the calendar, or closed again, are withdrawn: the frontier goes back
-- to the horizon, and nothing is due on them.
-- What changes is computed from the row that is locked (p), which may be newer than the one that
-- was read before (w).
-- NOT IN is hashed, whatever the planner estimates. It estimates few staged positions, and an anti
-- join would loop over all of them for each affected position.
-- Jobs are created as in stage/create_jobs.sql. One statement for both would have to find the rows
-- updated here by their xmin.
WITH staged AS (
    UPDATE position_state p
    SET epoch = p.epoch + 1,
        revision = p.revision + 1,
        trigger_id = k.trigger_id,
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN k.stale_moment
                            ELSE p.stale_moment END,
        invalidated_moment = CASE WHEN p.published_epoch = p.epoch THEN (SELECT current_moment())
                                  ELSE p.invalidated_moment END,
        staged_epoch = p.epoch + 1,
        pending = k.dates,
        holes = CASE WHEN isempty(p.holes) THEN '{}'
                     ELSE trimmed_holes(p.calendar_no, p.holes - k.dates) END
    FROM (
        SELECT k.position_id, k.revision, k.trigger_id, k.stale_moment,
               COALESCE(s.dates, datemultirange(daterange(k.first_date, k.last_date, '[]')))
                   AS dates
        FROM staged_positions k
        LEFT JOIN (
            SELECT position_id, range_agg(daterange(j.first_date, j.last_date, '[]')) AS dates
            FROM staged_spans j
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
        stale_moment = CASE WHEN p.published_epoch = p.epoch THEN r.stale_moment
                            ELSE p.stale_moment END,
        invalidated_moment = CASE WHEN p.published_epoch = p.epoch THEN (SELECT current_moment())
                                  ELSE p.invalidated_moment END,
        frontier_date = CASE WHEN isempty(r.withdrawn) THEN p.frontier_date
                             ELSE LEAST(p.frontier_date, r.horizon) END,
        pending = (p.pending
                   + r.dates * datemultirange(daterange(NULL, p.frontier_date, '(]'))
                     * p.open_dates)
                  * CASE WHEN isempty(r.withdrawn) THEN '{(,)}'
                         ELSE datemultirange(daterange(NULL, r.horizon, '(]')) END,
        holes = CASE WHEN isempty(p.holes) THEN '{}'
                     WHEN isempty(r.withdrawn)
                         THEN trimmed_holes(p.calendar_no, p.holes - r.dates)
                     ELSE trimmed_holes(
                         p.calendar_no,
                         (p.holes - r.dates)
                         * datemultirange(daterange(NULL, r.horizon, '(]'))) END,
        withdrawn = p.withdrawn
                    + CASE WHEN isempty(r.withdrawn) THEN '{}'
                           ELSE r.withdrawn * datemultirange(daterange(NULL, p.frontier_date, '(]'))
                                + datemultirange(daterange(
                                    LEAST(p.frontier_date, r.horizon), p.frontier_date, '(]'))
                           END
    FROM (
        SELECT r.position_id, range_agg(r.dates) AS dates, range_agg(r.withdrawn) AS withdrawn,
               max(r.last_trigger_id) AS last_trigger_id,
               (array_agg(first.moment_id ORDER BY first.at))[1] AS stale_moment,
               (SELECT h.horizon FROM calendar_horizons h JOIN calendars c USING (calendar_id)
                WHERE c.calendar_no = w.calendar_no) AS horizon
        FROM merged_reach(:triggers::bigint[], :firsts::bigint[]) r
        JOIN position_state w ON w.position_id = r.position_id
        LEFT JOIN LATERAL (
            SELECT t.moment_id, t.at
            FROM unnest(r.moments, r.moment_times, r.moment_dates) AS t (moment_id, at, dates)
            WHERE NOT isempty(
                (t.dates * w.open_dates + r.withdrawn)
                * datemultirange(daterange(NULL, COALESCE(w.frontier_date, '-infinity'), '(]')))
            ORDER BY t.at
            LIMIT 1
        ) first ON true
        WHERE r.position_id > :cursor AND r.position_id <= :last
          AND w.position_id > :cursor AND w.position_id <= :last
          AND r.position_id NOT IN (SELECT position_id FROM staged)
        GROUP BY r.position_id, w.calendar_no
    ) r
    WHERE p.position_id = r.position_id AND p.position_id > :cursor AND p.position_id <= :last
      AND NOT isempty(
              (r.dates * p.open_dates + r.withdrawn)
              * datemultirange(daterange(NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))
    RETURNING p.position_id
), noted AS (
    INSERT INTO unstaged_positions (first_position_id, last_position_id)
    SELECT lower(ids), upper(ids) - 1
    FROM (SELECT unnest(range_agg(int8range(position_id, position_id, '[]'))) AS ids
          FROM invalidated) runs
), spans AS (
    SELECT j.*, s.epoch, s.trigger_id
    FROM staged_spans j
    JOIN staged s USING (position_id)
), created AS (
    INSERT INTO portfolio_valuation_jobs
        (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
         attempt_count, lane, status, term, task_id)
    SELECT job_id, array_agg(position_id ORDER BY position_id, first_date),
           array_agg(epoch ORDER BY position_id, first_date),
           array_agg(first_date ORDER BY position_id, first_date),
           array_agg(last_date ORDER BY position_id, first_date),
           array_agg(trigger_id ORDER BY position_id, first_date),
           min(first_date), max(last_date), 1, 'HISTORY', 'PROCESSING', :term,
           min(task_id)
    FROM spans
    GROUP BY job_id
)
SELECT (SELECT count(*) FROM staged) AS staged,
       (SELECT count(*) FROM invalidated) AS invalidated_only,
       (SELECT count(*) FROM spans) AS spans
