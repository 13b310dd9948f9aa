-- The snapshots that PostgreSQL has now (:known_at NULL), or had at :known_at.
--
-- Superseded and unpublished ones too: which of them readers see is decided when the rows of the
-- lake are beside them.
SELECT s.position_id, s.date, s.epoch, s.price_date, s.fx_date, s.fx_path, s.status, s.quantity,
       s.cost_basis_local, s.cost_basis, s.price, s.fx_rate, s.market_value_local, s.market_value,
       s.unrealized_gain_local, s.unrealized_gain
FROM snapshots_at(:known_at::timestamptz) s
