-- Return the snapshots that were committed at known_at; NULL: all of them.
--
-- A time before the retention floor is an error (publications_at).
--
-- Readers take, of each position and date, the one of the greatest epoch that is not greater than
-- the published epoch. The halves of the UNION ALL have no WHERE clause of their own: each is then
-- a plain table for the planner, which can use its indexes in joins, and is_now removes one half
-- while the statement is planned.
CREATE OR REPLACE FUNCTION snapshots_at(known_at timestamptz)
RETURNS TABLE (
    position_id bigint, date date, epoch integer, job_id bigint, status smallint,
    quantity numeric, cost_basis_local numeric, cost_basis numeric,
    price numeric, price_date date, fx_rate numeric, fx_date date, fx_path smallint,
    market_value_local numeric, market_value numeric,
    unrealized_gain_local numeric, unrealized_gain numeric)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT u.position_id, u.date, u.epoch, u.job_id, u.status, u.quantity, u.cost_basis_local,
           u.cost_basis, u.price, u.price_date, u.fx_rate, u.fx_date, u.fx_path,
           u.market_value_local, u.market_value, u.unrealized_gain_local, u.unrealized_gain
    FROM (SELECT true AS is_now, s.*, NULL::timestamptz AS valued_at
          FROM daily_position_snapshots s
          UNION ALL
          SELECT false, d.* FROM dated_snapshots d) u
    WHERE CASE WHEN known_at IS NULL THEN u.is_now ELSE u.valued_at <= known_at END
      AND (known_at IS NULL OR (SELECT require_retained(known_at)));
END;
