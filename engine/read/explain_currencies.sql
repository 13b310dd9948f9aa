-- The given currencies: major currency, units per major unit, and number.
SELECT currency, major_currency, units_per_major, currency_no
FROM currencies
WHERE currency = ANY (:currencies::text[])
