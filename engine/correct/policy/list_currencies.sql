-- All currencies and quotation units, each currency before its units.
SELECT currency, major_currency, units_per_major
FROM currencies
ORDER BY major_currency, units_per_major, currency
