-- Every currency conversion that the valuation of a position needs: quotation currency to local
-- currency, and local currency to base currency. Never a currency to itself.
--
-- Quotation currencies come from security_quote_currencies, so that the reach of a rate is found
-- without reading prices. UNION removes the duplicates: a position needs one pair once.
CREATE OR REPLACE VIEW position_conversions AS
SELECT p.position_id, i.currency AS from_currency, f.base_currency AS to_currency
FROM position_state p
JOIN instruments i USING (security_id)
JOIN portfolios f USING (portfolio_id)
WHERE i.currency <> f.base_currency
UNION
SELECT p.position_id, c.major_currency, i.currency
FROM position_state p
JOIN instruments i USING (security_id)
JOIN security_quote_currencies q USING (security_id)
JOIN currencies c ON c.currency = q.currency
WHERE c.major_currency <> i.currency;
