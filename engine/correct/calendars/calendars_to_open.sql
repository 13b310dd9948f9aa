-- What opening calendars through :day means for each; :calendars NULL: all.
--
-- day_before: the last business date at or before :day, which is :day itself if that is one;
-- day_after: the first business date after it; business_days: how many dates up to day_before are
-- not opened yet, or, negative, how many after it are opened; is_used: whether a portfolio has the
-- calendar.
SELECT c.calendar_id, c.opened_through, d.day_before, d.day_after,
       (SELECT count(*) FROM business_dates b
        WHERE b.calendar_id = c.calendar_id AND b.business_date <= d.day_before
          AND b.business_date > COALESCE(c.opened_through, '-infinity'))
       - (SELECT count(*) FROM business_dates b
          WHERE b.calendar_id = c.calendar_id AND b.business_date > d.day_before
            AND b.business_date <= c.opened_through) AS business_days,
       EXISTS (SELECT FROM portfolios f WHERE f.calendar_id = c.calendar_id) AS is_used
FROM calendars c
CROSS JOIN LATERAL (
    SELECT max(b.business_date) FILTER (WHERE b.business_date <= :day) AS day_before,
           min(b.business_date) FILTER (WHERE b.business_date > :day) AS day_after
    FROM business_dates b
    WHERE b.calendar_id = c.calendar_id
) d
WHERE :calendars::text[] IS NULL OR c.calendar_id = ANY (:calendars)
ORDER BY c.calendar_id
