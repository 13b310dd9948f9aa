SELECT position_id, portfolio_id, security_id, state, reprocessing_status, epoch, published_epoch, watermark_date,
       frontier_date, horizon, failure_reason
FROM position_status
WHERE portfolio_id = :portfolio AND security_id = :security
