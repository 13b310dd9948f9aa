-- The snapshots of positions from :first_position to :last_position on dates from :first_date to
-- :last_date (all included) that PostgreSQL has, with the time at which each was committed.
SELECT s.position_id, s.job_id, s.date, s.epoch, s.price_date, s.fx_date, s.fx_path, s.status,
       s.quantity, s.cost_basis_local, s.cost_basis, s.price, s.fx_rate, s.market_value_local,
       s.market_value, s.unrealized_gain_local, s.unrealized_gain,
       CASE WHEN isfinite(s.valued_at)
            THEN (extract(epoch FROM s.valued_at) * 1000000)::bigint END AS valued_us
FROM dated_snapshots s
WHERE s.date BETWEEN :first_date AND :last_date
  AND s.position_id BETWEEN :first_position AND :last_position
