-- A statement of DuckDB: gain * (whole_rate + rest_rate / 10^18), rounded half-even to 10 places.
--
-- gain is in units of the 10th place, all are integers. DuckDB's numbers end at 38 digits and the
-- product has up to 56: so the last 18 digits of the gain and those before are multiplied each by
-- itself. Their parts have one sign, as rates are positive.
CREATE MACRO rounded_product(gain, whole_rate, rest_rate) AS half_even(
    gain * whole_rate + gain // 1000000000000000000 * rest_rate
        + gain % 1000000000000000000 * rest_rate // 1000000000000000000,
    gain % 1000000000000000000 * rest_rate % 1000000000000000000
)
