-- All instruments. A multiplier that is no number is none; see unusable_rows.
SELECT security_id, currency, NULLIF(contract_multiplier, 'NaN') AS contract_multiplier,
       max_price_age_sessions
FROM instruments
