-- What readers see, summed over all portfolios of a base currency, per date. As text: the sums are
-- exact.
--
-- All rows are read once, and hash-joined with the few that can replace one, those of corrections:
-- n.epoch >= 1 follows from n.epoch > s.epoch. What readers do not see is left out of the sums and
-- not of the join: the planner cannot know how few rows that is, and would look the corrected ones
-- up one by one.
SELECT base_currency, date, market_value::text, unrealized_gain::text
FROM (
    SELECT f.base_currency, s.date,
           sum(s.market_value) FILTER (WHERE v.is_visible) AS market_value,
           sum(s.unrealized_gain) FILTER (WHERE v.is_visible) AS unrealized_gain
    FROM position_state p
    JOIN portfolios f USING (portfolio_id)
    JOIN daily_position_snapshots s USING (position_id)
    CROSS JOIN LATERAL (
        SELECT s.epoch <= p.published_epoch AND s.date <@ p.published_open_dates
               AND NOT s.date <@ p.published_hidden AS is_visible
    ) v
    WHERE NOT EXISTS (
        SELECT FROM daily_position_snapshots n
        WHERE n.position_id = s.position_id AND n.date = s.date
          AND n.epoch > s.epoch AND n.epoch <= p.published_epoch AND n.epoch >= 1
    )
    GROUP BY f.base_currency, s.date
) sums
WHERE market_value IS NOT NULL
ORDER BY base_currency, date
