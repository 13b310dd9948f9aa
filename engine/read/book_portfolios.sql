-- All portfolios.
SELECT portfolio_id, base_currency, calendar_id FROM portfolios
