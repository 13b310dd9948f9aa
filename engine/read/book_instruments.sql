-- All instruments.
SELECT security_id, currency, contract_multiplier, max_price_age_sessions FROM instruments
