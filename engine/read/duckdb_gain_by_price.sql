-- A statement of DuckDB: gain * rate, rounded half-even to 10 places, as the view
-- postgres_valuations has it. More than 28 digits before the point are an error.
--
-- No subquery: with one, the conditions of a query would not be tested while files are read.
CREATE MACRO gain_by_price(gain, rate) AS rounded_product(
    (gain * 10000000000)::HUGEINT, trunc(rate)::HUGEINT,
    ((rate - trunc(rate)) * 1000000000000000000)::HUGEINT
)
