-- All currencies, minor units included.
SELECT currency, major_currency, units_per_major, currency_no FROM currencies
