-- Of each position and date the snapshot of the greatest published epoch that PostgreSQL has, if
-- the position exists on that date by the published history. A date that has no value under that
-- epoch is hidden: the number of an older one is never shown for it.
--
-- Without a lake that is the published valuation. With one, the lake may have a row of a greater
-- epoch: the readers of the engine look there too, and others read position_valuations.
--
-- A position that a queued trigger affects is IN_PROGRESS, although its epoch is not raised yet.
-- price_effect is not limited to 18 digits before the point, as the gains are: a gain that fits
-- can split into two effects that do not. fx_effect is the rest, so the two always add up to the
-- gain.
CREATE OR REPLACE VIEW postgres_valuations AS
SELECT p.portfolio_id, p.security_id, s.date, f.base_currency, i.currency AS local_currency,
       CASE s.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       CASE WHEN p.published_epoch < p.epoch OR q.queued THEN 'IN_PROGRESS' ELSE 'CURRENT' END
           AS reprocessing_status,
       s.quantity, s.cost_basis_local, s.cost_basis,
       s.price, s.price_date, s.fx_rate, s.fx_date, s.fx_path,
       s.market_value_local, s.market_value, s.unrealized_gain_local, s.unrealized_gain,
       e.price_effect, s.unrealized_gain - e.price_effect AS fx_effect,
       s.epoch, p.watermark_date, s.position_id, s.job_id
FROM position_state p
JOIN portfolios f USING (portfolio_id)
JOIN instruments i USING (security_id)
JOIN daily_position_snapshots s
  ON s.position_id = p.position_id AND s.epoch <= p.published_epoch
 AND s.date <@ p.published_open_dates AND NOT s.date <@ p.published_hidden
CROSS JOIN LATERAL (
    SELECT EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
           AND EXISTS (SELECT FROM queued_positions k WHERE k.position_id = p.position_id)
               AS queued
) q
CROSS JOIN LATERAL (
    SELECT COALESCE(round_half_even(s.unrealized_gain_local * s.fx_rate, 10), 0) AS price_effect
) e
WHERE NOT EXISTS (
    SELECT FROM daily_position_snapshots n
    WHERE n.position_id = s.position_id AND n.date = s.date
      AND n.epoch > s.epoch AND n.epoch <= p.published_epoch
);
