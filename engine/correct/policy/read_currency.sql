-- One currency or quotation unit.
SELECT currency, major_currency, units_per_major FROM currencies WHERE currency = :currency
