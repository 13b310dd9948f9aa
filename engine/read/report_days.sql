-- The business dates that are opened now (:known_at NULL) or were at :known_at, of the calendars of
-- the given portfolios (NULL: of all): those from :first_date to :last_date (both included), or
-- (:first_date NULL) the last one of each calendar at or before :last_date.
SELECT b.calendar_id, b.business_date AS date
FROM business_dates_at(:known_at::timestamptz) b
WHERE b.business_date <= :last_date::date
  AND (b.business_date >= :first_date::date
       OR (:first_date::date IS NULL
           AND b.business_date = (SELECT max(l.business_date)
                                  FROM business_dates_at(:known_at::timestamptz) l
                                  WHERE l.calendar_id = b.calendar_id
                                    AND l.business_date <= :last_date::date)))
  AND EXISTS (SELECT FROM portfolios f
              WHERE f.calendar_id = b.calendar_id
                AND (:portfolios::text[] IS NULL OR f.portfolio_id = ANY (:portfolios)))
ORDER BY b.business_date, b.calendar_id
