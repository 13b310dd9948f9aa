-- A statement of DuckDB: whole + rest / 10^18, rounded half-even, as units of the 10th place.
--
-- Both are integers of one sign.
CREATE MACRO half_even(whole, rest) AS (
    whole + CASE WHEN abs(rest) > 500000000000000000
                   OR (abs(rest) = 500000000000000000 AND whole % 2 <> 0)
                 THEN sign(rest) ELSE 0 END
)::DECIMAL(38, 0) * 0.0000000001
