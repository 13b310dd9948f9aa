-- Insert a currency, or a quotation unit of one. Nothing refers to it yet, so nothing is affected.
INSERT INTO currencies (currency, major_currency, units_per_major)
VALUES (:currency, :major, :units)
