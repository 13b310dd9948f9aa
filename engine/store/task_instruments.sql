SELECT i.instrument_no, i.security_id, c.currency_no, i.contract_multiplier, i.max_price_age_sessions
FROM instruments i
JOIN currencies c USING (currency)
WHERE i.security_id IN (
    SELECT p.security_id FROM portfolio_valuation_jobs j JOIN position_state p USING (position_id)
    WHERE j.job_id BETWEEN :first_job AND :last_job AND CASE WHEN j.task_id = :task THEN true END)
