-- The given instruments, under their number and that of their currency.
SELECT i.instrument_no, i.security_id, c.currency_no, i.contract_multiplier,
       i.max_price_age_sessions
FROM instruments i
JOIN currencies c USING (currency)
WHERE i.instrument_no = ANY (:instruments::integer[])
