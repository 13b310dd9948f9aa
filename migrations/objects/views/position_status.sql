-- The state of each position, with its epochs, its dates, and why a date has no value.
--
-- A position is CURRENT only if no date is due, no date lacks a value, and no queued trigger
-- concerns it. WAITING_FOR_DATA: everything is valued but the holes, which lack data. FAILED: dates
-- are due that could not be valued, or a hole does not wait for data (its number is too large).
-- `queued` asks first whether there is any queued trigger, because that is answered once for all
-- positions.
CREATE OR REPLACE VIEW position_status AS
SELECT p.position_id, p.portfolio_id, p.security_id,
       CASE WHEN j.job_id IS NOT NULL OR hole.reason = 'OVERFLOW' THEN 'FAILED'
            WHEN p.published_epoch < p.epoch OR (q.queued AND p.frontier_date IS NOT NULL)
                THEN 'REPROCESSING'
            WHEN NOT isempty(p.pending) OR COALESCE(p.frontier_date, '-infinity') < h.horizon
                THEN 'BEHIND'
            WHEN NOT isempty(p.holes) THEN 'WAITING_FOR_DATA'
            ELSE 'CURRENT' END AS state,
       CASE WHEN p.published_epoch < p.epoch OR q.queued THEN 'IN_PROGRESS' ELSE 'CURRENT' END
           AS reprocessing_status,
       p.epoch, p.published_epoch, p.watermark_date, p.frontier_date, h.horizon, p.pending,
       COALESCE(j.job_id, hole.job_id) AS job_id,
       COALESCE(j.failure_reason, hole.reason || ' ' || hole.subject || ' ' || hole.first_date)
           AS failure_reason,
       p.published_open_dates, p.published_hidden, p.holes
FROM position_state p
JOIN portfolios f USING (portfolio_id)
LEFT JOIN calendar_horizons h USING (calendar_id)
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
           AND EXISTS (SELECT FROM queued_positions k WHERE k.position_id = p.position_id)
               AS queued
) q
LEFT JOIN LATERAL (
    -- By its dead letters: a position can have thousands of jobs.
    SELECT w.job_id, w.failure_reason
    FROM dead_letters d
    JOIN portfolio_valuation_jobs w USING (job_id)
    WHERE NOT isempty(p.pending) AND d.position_id = p.position_id AND w.epochs[1] = p.epoch
      AND w.status = 'FAILED' AND w.valued_through IS NULL
    ORDER BY w.first_date
    LIMIT 1
) j ON true
LEFT JOIN LATERAL (
    -- A hole that does not wait for data is told first.
    SELECT c.job_id, c.reason, c.subject, c.first_date
    FROM current_holes c
    WHERE NOT isempty(p.holes) AND c.position_id = p.position_id
    ORDER BY c.reason <> 'OVERFLOW', c.first_date
    LIMIT 1
) hole ON true;
