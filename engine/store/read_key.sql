SELECT s.portfolio_id, s.security_id, s.state, s.reprocessing_status, s.epoch, s.published_epoch, s.watermark_date,
       s.frontier_date, s.horizon, s.failure_reason,
       CASE WHEN s.reprocessing_status = 'IN_PROGRESS' THEN t.created_at END AS reprocessing_since
FROM position_status s
JOIN position_state p USING (position_id)
LEFT JOIN reprocessing_triggers t ON t.trigger_id = p.trigger_id AND p.published_epoch < p.epoch
WHERE s.portfolio_id = :portfolio AND s.security_id = :security
