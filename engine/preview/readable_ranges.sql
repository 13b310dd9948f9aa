-- What readers see of positions within ranges of dates: the parts of the ranges on which a position
-- is open and shows a number, and the greatest epoch of its rows (epoch).
--
-- The arrays are parallel; days are counted from 1970-01-01.
SELECT p.position_id, p.published_epoch AS epoch, lower(v.dates) AS first_date,
       upper(v.dates) - 1 AS last_date
FROM unnest(:positions::bigint[], :first_days::integer[], :last_days::integer[])
    AS r (position_id, first_day, last_day)
JOIN position_state p USING (position_id)
CROSS JOIN LATERAL unnest(
    (p.published_open_dates - p.published_hidden) * datemultirange(daterange(
        DATE '1970-01-01' + r.first_day, DATE '1970-01-01' + r.last_day, '[]'))
) AS v (dates)
