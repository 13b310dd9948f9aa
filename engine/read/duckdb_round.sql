-- A statement of DuckDB: gain * rate, rounded half-even to 10 places, as the view
-- postgres_valuations has it.
--
-- DuckDB's numbers end at 38 digits and the product has up to 56. So it is made of integers: the
-- gain in units of its 10th place is a * 10^18 + b, the rate is c + d / 10^18. The parts of the
-- product of which every digit stays are `whole`, and what is cut off is `rest` / 10^18. All of
-- them have the sign of the gain, as rates are positive. What has more than 28 digits before the
-- point is an error.
CREATE MACRO gain_by_price(gain, rate) AS (
    WITH split AS (
        SELECT (gain * 10000000000)::HUGEINT // 1000000000000000000 AS a,
               (gain * 10000000000)::HUGEINT % 1000000000000000000 AS b,
               trunc(rate)::HUGEINT AS c,
               ((rate - trunc(rate)) * 1000000000000000000)::HUGEINT AS d
    ), product AS (
        SELECT (gain * 10000000000)::HUGEINT * c + a * d + b * d // 1000000000000000000 AS whole,
               b * d % 1000000000000000000 AS rest
        FROM split
    )
    SELECT (whole + CASE WHEN abs(rest) > 500000000000000000
                           OR (abs(rest) = 500000000000000000 AND whole % 2 <> 0)
                         THEN sign(rest) ELSE 0 END)::DECIMAL(38, 0) * 0.0000000001
    FROM product
)
