-- Create the proposed jobs (staged_positions, staged_spans), advance the frontier of their
-- positions, and publish positions on which nothing is due. Returns the number of spans.
--
-- A position that was changed since the scan, or staged by the other lane, has another revision; it
-- is left for the next scan together with its spans. So is one whose calendar was changed.
-- A span that no correction made due has no trigger: the dates after the frontier of a position
-- whose current epoch is staged.
WITH several AS (
    SELECT position_id, range_agg(daterange(j.first_date, j.last_date, '[]')) AS dates
    FROM staged_spans j
    JOIN staged_positions k USING (position_id)
    WHERE k.first_date IS NULL
    GROUP BY position_id
), due AS MATERIALIZED (
    SELECT k.position_id, k.revision, k.horizon, k.is_staged,
           CASE WHEN k.first_date IS NULL THEN s.dates
                ELSE datemultirange(daterange(k.first_date, k.last_date, '[]')) END AS dates
    FROM staged_positions k
    JOIN calendars c ON c.calendar_no = k.calendar_no AND c.revision = k.calendar_revision
    LEFT JOIN several s USING (position_id)
), moved AS (
    UPDATE position_state p
    SET pending = CASE WHEN p.staged_epoch = p.epoch THEN p.pending ELSE '{}' END
                  + COALESCE(k.dates, '{}'),
        frontier_date = k.horizon,
        staged_epoch = p.epoch,
        revision = p.revision + 1,
        published_epoch = CASE WHEN k.dates IS NULL
                                    AND (p.staged_epoch <> p.epoch OR isempty(p.pending))
                               THEN p.epoch ELSE p.published_epoch END,
        published_open_dates = CASE WHEN k.dates IS NULL
                                         AND (p.staged_epoch <> p.epoch OR isempty(p.pending))
                                    THEN p.open_dates ELSE p.published_open_dates END,
        published_hidden = CASE WHEN k.dates IS NULL
                                     AND (p.staged_epoch <> p.epoch OR isempty(p.pending))
                                THEN p.holes + p.withdrawn ELSE p.published_hidden END
    FROM (
        -- What was published matters only where nothing is due: only there this publishes.
        SELECT o.position_id, o.revision, o.horizon, o.dates, o.is_staged,
               w.published_epoch AS was_published
        FROM due o
        LEFT JOIN position_state w
          ON w.position_id = o.position_id AND o.dates IS NULL
         AND w.position_id BETWEEN :first_position AND :last_position
    ) k
    WHERE p.position_id = k.position_id AND p.revision = k.revision
      AND p.position_id BETWEEN :first_position AND :last_position
    RETURNING p.position_id, p.epoch,
              CASE WHEN NOT k.is_staged THEN p.trigger_id END AS trigger_id,
              p.published_epoch, p.stale_moment, p.invalidated_moment, k.was_published,
              CASE WHEN k.dates IS NULL THEN p.published_open_dates END AS published_open_dates,
              CASE WHEN k.dates IS NULL THEN p.published_hidden END AS published_hidden
), published AS (
    INSERT INTO publications
        (position_id, moment_id, epoch, open_dates, hidden, stale_moment, invalidated_moment)
    SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates,
           published_hidden, stale_moment, invalidated_moment
    FROM moved
    WHERE published_epoch > was_published
    ON CONFLICT (position_id, moment_id) DO UPDATE
    SET epoch = excluded.epoch, open_dates = excluded.open_dates,
        stale_moment = excluded.stale_moment
), spans AS (
    SELECT j.*, m.epoch, m.trigger_id
    FROM staged_spans j
    JOIN moved m USING (position_id)
), created AS (
    INSERT INTO portfolio_valuation_jobs
        (job_id, positions, epochs, first_dates, last_dates, trigger_ids, first_date, last_date,
         attempt_count, lane, status, term, task_id)
    SELECT job_id, array_agg(position_id ORDER BY position_id, first_date),
           array_agg(epoch ORDER BY position_id, first_date),
           array_agg(first_date ORDER BY position_id, first_date),
           array_agg(last_date ORDER BY position_id, first_date),
           array_agg(trigger_id ORDER BY position_id, first_date),
           min(first_date), max(last_date), 1, :lane::text::valuation_lane, 'PROCESSING', :term,
           min(task_id)
    FROM spans
    GROUP BY job_id
    RETURNING span_count
)
SELECT COALESCE(sum(span_count), 0)::bigint FROM created
