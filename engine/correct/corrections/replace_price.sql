-- Replace a stored price. A database trigger records the correction.
UPDATE market_prices SET price = :price WHERE security_id = :security AND price_date = :date
