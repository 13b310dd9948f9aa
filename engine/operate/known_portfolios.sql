-- Those of the given portfolios that exist.
SELECT portfolio_id FROM portfolios WHERE portfolio_id = ANY (:portfolios::text[])
