-- The portfolios that have positions.
SELECT DISTINCT portfolio_id FROM position_state
