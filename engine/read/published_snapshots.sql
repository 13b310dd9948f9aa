-- Of each position from :first_position to :last_position and each date from :first_date to
-- :last_date (all included), the published snapshot that PostgreSQL has, as readers see it now.
--
-- Positions by their ids and not by their names: a reader that goes through all of them takes some
-- after the others, each of them once. The range is given for both, so that only its months are
-- planned and read.
SELECT s.position_id, s.date, s.epoch, s.status, s.quantity, s.cost_basis_local, s.cost_basis,
       s.price, s.price_date, s.fx_rate, s.fx_date, s.market_value_local, s.market_value,
       s.unrealized_gain_local, s.unrealized_gain
FROM daily_position_snapshots s
JOIN position_state p
  ON p.position_id = s.position_id AND s.epoch <= p.published_epoch
 AND s.date <@ p.published_open_dates AND NOT s.date <@ p.published_hidden
WHERE s.position_id BETWEEN :first_position AND :last_position
  AND s.date BETWEEN :first_date AND :last_date
  AND p.position_id BETWEEN :first_position AND :last_position
  AND NOT EXISTS (
      SELECT FROM daily_position_snapshots n
      WHERE n.position_id = s.position_id AND n.date = s.date AND n.epoch > s.epoch
        AND n.epoch <= p.published_epoch
        AND n.date BETWEEN :first_date AND :last_date)
