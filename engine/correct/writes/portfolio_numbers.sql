-- The numbers of the calendar and of the base currency of given portfolios.
SELECT f.portfolio_id, c.calendar_no, b.currency_no AS base_currency_no
FROM portfolios f
JOIN calendars c USING (calendar_id)
JOIN currencies b ON b.currency = f.base_currency
WHERE f.portfolio_id = ANY (:portfolios::text[])
