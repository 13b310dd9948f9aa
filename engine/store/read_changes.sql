-- Every number that a key had on a date, the oldest first: with the job that wrote it and the correction that was its cause.
-- An epoch above the published one is not shown: nobody has seen it as the key's number.
SELECT n.epoch, n.epoch = max(n.epoch) OVER () AS is_shown,
       CASE n.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       n.quantity, n.cost_basis_local, n.cost_basis, n.price, n.price_date, n.fx_rate, n.fx_date, n.market_value_local,
       n.market_value, n.unrealized_gain_local, n.unrealized_gain, j.job_id, j.finished_at AS valued_at,
       t.trigger_id, t.kind AS cause, t.security_id AS cause_security, t.base_currency AS cause_base_currency,
       t.quote_currency AS cause_quote_currency, t.created_at AS corrected_at
FROM position_state p
JOIN daily_position_snapshots n ON n.position_id = p.position_id AND n.epoch <= p.published_epoch
LEFT JOIN portfolio_valuation_jobs j ON j.job_id = n.job_id
LEFT JOIN reprocessing_triggers t ON t.trigger_id = j.trigger_id AND n.epoch > 0
WHERE p.portfolio_id = :portfolio AND p.security_id = :security AND n.date = :date AND p.published_open_dates @> n.date
ORDER BY n.epoch
LIMIT :most
