SELECT m.price_date, m.price, m.currency, m.quote_basis, c.major_currency, c.units_per_major,
       (SELECT count(*) FROM business_dates b
        WHERE b.calendar_id = :calendar AND b.business_date > m.price_date AND b.business_date <= :date) AS age_business_days
FROM market_prices m JOIN currencies c USING (currency)
WHERE m.security_id = :security AND m.price_date <= :date
ORDER BY m.price_date DESC
LIMIT 1
