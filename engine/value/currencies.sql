-- All currencies by number: minor units have the number of their major currency.
SELECT c.currency, c.currency_no, m.currency_no AS major_no, c.units_per_major
FROM currencies c
JOIN currencies m ON m.currency = c.major_currency
