-- Round x to the given number of decimal places; ties go to the even digit.
--
-- round() of numeric rounds ties away from zero, but the engine's rule is half-even
-- (docs/valuation.md).
CREATE OR REPLACE FUNCTION round_half_even(x numeric, places integer) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT CASE WHEN abs(r - x) * 2 = 10::numeric ^ (-places)
                     AND mod(abs(r) * 10::numeric ^ places, 2) = 1
                THEN round(r - sign(x) * 10::numeric ^ (-places), places) ELSE r END
    FROM (SELECT round(x, places) AS r) rounded
);
