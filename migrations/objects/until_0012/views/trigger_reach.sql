-- The positions that each trigger affects, with the trigger's dates (not yet cut to the dates of
-- the position).
--
-- The one definition of a trigger's reach: fan-out, preview and readers all use it. An FX rate
-- affects the conversions of its pair in both directions, and, if one side is the pivot currency,
-- every conversion from or to the other side. A POSITION trigger is not here: its position is
-- invalidated in the transaction that inserts it.
CREATE OR REPLACE VIEW trigger_reach AS
SELECT t.trigger_id, t.fanned_out_at, p.position_id, t.dates
FROM reprocessing_triggers t JOIN position_state p USING (security_id)
WHERE t.kind IN ('PRICE', 'INSTRUMENT')
UNION ALL
SELECT t.trigger_id, t.fanned_out_at, c.position_id, t.dates
FROM reprocessing_triggers t
CROSS JOIN valuation_policy v
JOIN position_conversions c
  ON (c.from_currency, c.to_currency)
         IN ((t.base_currency, t.quote_currency), (t.quote_currency, t.base_currency))
  OR (t.base_currency = v.fx_pivot_currency
      AND t.quote_currency IN (c.from_currency, c.to_currency))
  OR (t.quote_currency = v.fx_pivot_currency
      AND t.base_currency IN (c.from_currency, c.to_currency))
WHERE t.kind = 'FX'
UNION ALL
SELECT t.trigger_id, t.fanned_out_at, p.position_id, t.dates
FROM reprocessing_triggers t
JOIN portfolios f USING (calendar_id)
JOIN position_state p USING (portfolio_id)
WHERE t.kind = 'CALENDAR'
UNION ALL
SELECT t.trigger_id, t.fanned_out_at, p.position_id, t.dates
FROM reprocessing_triggers t CROSS JOIN position_state p
WHERE t.kind = 'POLICY';
