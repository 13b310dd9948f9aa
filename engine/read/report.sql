-- The open positions of many portfolios on one date of each calendar, as readers see them now
-- (:known_at NULL) or saw them at :known_at.
--
-- portfolios, securities: only these; NULL: all. of_portfolio, of_security: the same if it is one.
-- calendars, dates: parallel. first_date, last_date: of the dates, so that only their months of
-- snapshots are planned and read.
-- A position without a value is a row too: its status and its reason say why.
-- readable_epoch: a row in the lake of a greater epoch, up to this one, replaces the values.
WITH days AS (
    SELECT * FROM unnest(:calendars::text[], :dates::date[]) AS d (calendar_id, date)
), positions AS MATERIALIZED (
    SELECT k.position_id, k.portfolio_id, k.security_id, f.base_currency,
           i.currency AS local_currency, d.date, k.reprocessing_status, k.state, k.failure_reason,
           k.published_epoch, k.hidden @> d.date AS is_hidden
    FROM positions_at(:known_at::timestamptz, :of_portfolio, :of_security) k
    JOIN portfolios f USING (portfolio_id)
    JOIN instruments i USING (security_id)
    JOIN days d USING (calendar_id)
    WHERE k.open_dates @> d.date
      AND (:portfolios::text[] IS NULL OR k.portfolio_id = ANY (:portfolios))
      AND (:securities::text[] IS NULL OR k.security_id = ANY (:securities))
)
SELECT k.portfolio_id, k.security_id, k.date, k.base_currency, k.local_currency,
       CASE WHEN v.status = 0 THEN 'VALUED_CURRENT'
            WHEN v.status = 1 THEN 'VALUED_STALE'
            WHEN lacking.reason LIKE 'OVERFLOW %' THEN 'FAILED'
            WHEN lacking.reason IS NOT NULL THEN 'WAITING_FOR_DATA'
            WHEN k.state = 'FAILED' THEN 'FAILED'
            ELSE 'NOT_VALUED' END AS valuation_status,
       k.reprocessing_status, v.quantity, v.cost_basis_local, v.cost_basis, v.price, v.price_date,
       v.fx_rate, v.fx_date, v.market_value_local, v.market_value, v.unrealized_gain_local,
       v.unrealized_gain, e.price_effect, v.unrealized_gain - e.price_effect AS fx_effect, v.epoch,
       CASE WHEN v.status IS NULL THEN COALESCE(lacking.reason, k.failure_reason) END
           AS failure_reason,
       k.position_id, CASE WHEN NOT k.is_hidden THEN k.published_epoch END AS readable_epoch
FROM positions k
LEFT JOIN LATERAL (
    SELECT s.*
    FROM snapshots_at(:known_at::timestamptz) s
    WHERE s.position_id = k.position_id AND s.date = k.date AND s.epoch <= k.published_epoch
      AND s.date BETWEEN :first_date AND :last_date AND NOT k.is_hidden
    ORDER BY s.epoch DESC
    LIMIT 1
) v ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN k.is_hidden THEN hole_reason(k.position_id, k.published_epoch, k.date) END
               AS reason
) lacking
CROSS JOIN LATERAL (
    SELECT CASE WHEN v.status IS NOT NULL
                THEN COALESCE(round_half_even(v.unrealized_gain_local * v.fx_rate, 10), 0) END
               AS price_effect
) e
ORDER BY k.portfolio_id, k.security_id
