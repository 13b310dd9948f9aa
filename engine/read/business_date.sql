-- The last business date at or before :as_of that the calendar of a portfolio is opened through now
-- (:known_at NULL) or was at :known_at; NULL if there is none.
SELECT max(b.business_date)
FROM portfolios f
JOIN business_dates_at(:known_at::timestamptz) b USING (calendar_id)
WHERE f.portfolio_id = :portfolio AND b.business_date <= :as_of
