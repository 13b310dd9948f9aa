-- The business dates that are opened now (:known_at NULL) or were at :known_at, of the calendars
-- of the given portfolios (NULL: of all): those from :first_date to :last_date (both included), or
-- (:first_date NULL) the last one of each calendar at or before :last_date. :last_date NULL:
-- however late.
WITH days AS MATERIALIZED (
    SELECT b.calendar_id, b.business_date AS date
    FROM business_dates_at(:known_at::timestamptz) b
    WHERE (:last_date::date IS NULL OR b.business_date <= :last_date)
      AND b.calendar_id IN (
          SELECT f.calendar_id FROM portfolios f
          WHERE :portfolios::text[] IS NULL OR f.portfolio_id = ANY (:portfolios))
)
SELECT calendar_id, date FROM days WHERE date >= :first_date::date
UNION ALL
SELECT calendar_id, max(date) FROM days WHERE :first_date::date IS NULL GROUP BY calendar_id
ORDER BY date, calendar_id
