-- Calendar days from watermark to horizon, with the number of positions per lag. A position that
-- was never scheduled lags from its first open date.
SELECT GREATEST(
           h.horizon - COALESCE(p.watermark_date, lower(p.open_dates) - 1, h.horizon), 0)
           AS lag_days,
       count(*) AS positions
FROM position_state p
JOIN portfolios f USING (portfolio_id)
JOIN calendar_horizons h USING (calendar_id)
GROUP BY 1
