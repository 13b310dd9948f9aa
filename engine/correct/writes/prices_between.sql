-- Of given securities, each with the first and the last date of its incoming prices: those that
-- have a stored price between both, and those that a load refuses (is_refused): the security does
-- not exist, or its prices need a contract_multiplier, which it has not.
--
-- All others can be inserted without a look at each price: one index look-up per security.
SELECT g.security_id,
       i.currency IS NULL OR g.is_per_contract AND i.contract_multiplier IS NULL AS is_refused
FROM unnest(:securities::text[], :firsts::date[], :lasts::date[], :per_contract::boolean[])
     AS g (security_id, first, last, is_per_contract)
LEFT JOIN instruments i USING (security_id)
WHERE i.currency IS NULL OR g.is_per_contract AND i.contract_multiplier IS NULL
   OR EXISTS (SELECT FROM market_prices p
              WHERE p.security_id = g.security_id AND p.price_date BETWEEN g.first AND g.last)
