-- The state of each position, with its epochs, its dates, and the job that it waits for or that
-- failed.
--
-- A position is CURRENT only if no date is due and no queued trigger affects it. While nothing is
-- opened in its calendar, no date is due. `queued` asks first whether there is any queued trigger,
-- because that is answered once for all positions.
CREATE OR REPLACE VIEW position_status AS
SELECT p.position_id, p.portfolio_id, p.security_id,
       CASE WHEN j.status = 'FAILED' THEN 'FAILED'
            WHEN j.status = 'WAITING_FOR_DATA' THEN 'WAITING_FOR_DATA'
            WHEN p.published_epoch < p.epoch OR q.queued THEN 'REPROCESSING'
            WHEN NOT isempty(p.pending) OR COALESCE(p.frontier_date, '-infinity') < h.horizon
                THEN 'BEHIND'
            ELSE 'CURRENT' END AS state,
       CASE WHEN p.published_epoch < p.epoch OR q.queued THEN 'IN_PROGRESS' ELSE 'CURRENT' END
           AS reprocessing_status,
       p.epoch, p.published_epoch, p.watermark_date, p.frontier_date, h.horizon, p.pending,
       j.job_id, j.failure_reason, p.published_open_dates
FROM position_state p
JOIN portfolios f USING (portfolio_id)
LEFT JOIN calendar_horizons h USING (calendar_id)
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
           AND EXISTS (SELECT FROM queued_positions k WHERE k.position_id = p.position_id)
               AS queued
) q
LEFT JOIN LATERAL (
    SELECT w.job_id, w.status, w.failure_reason
    FROM portfolio_valuation_jobs w
    WHERE NOT isempty(p.pending) AND w.position_id = p.position_id AND w.epoch = p.epoch
      AND w.status IN ('WAITING_FOR_DATA', 'FAILED')
    ORDER BY w.first_date
    LIMIT 1
) j ON true;
