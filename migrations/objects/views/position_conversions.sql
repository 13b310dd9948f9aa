-- Every currency conversion that the valuation of a position needs: quotation currency to local
-- currency, and local currency to base currency. Never a currency to itself.
--
-- Quotation currencies come from security_quote_currencies, so that the reach of a rate is found
-- without reading prices. quote_moment: since when the security is quoted in the currency; NULL for
-- a conversion that does not depend on it. UNION removes the duplicates.
CREATE OR REPLACE VIEW position_conversions AS
SELECT p.position_id, i.currency AS from_currency, f.base_currency AS to_currency,
       NULL::bigint AS quote_moment
FROM position_state p
JOIN instruments i USING (security_id)
JOIN portfolios f USING (portfolio_id)
WHERE i.currency <> f.base_currency
UNION
SELECT p.position_id, c.major_currency, i.currency, q.moment_id
FROM position_state p
JOIN instruments i USING (security_id)
JOIN security_quote_currencies q USING (security_id)
JOIN currencies c ON c.currency = q.currency
WHERE c.major_currency <> i.currency;
