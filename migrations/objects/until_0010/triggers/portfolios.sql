-- Refuse an update of a portfolio that its positions do not allow.
--
-- Once per row: portfolios are few, and each change is compared with its own old row.
CREATE OR REPLACE TRIGGER portfolio_updated
AFTER UPDATE ON portfolios
FOR EACH ROW EXECUTE FUNCTION on_portfolio_update();
