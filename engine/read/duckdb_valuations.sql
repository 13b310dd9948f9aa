-- A statement of DuckDB: the view position_valuations, with the columns of the one of PostgreSQL
-- that readers need, of the rows of both stores.
--
-- files, merged_files, rows_of_postgresql: the rows of each store. readable_positions: the names of
-- a position, a range of dates on which it shows a number, and the greatest epoch of its rows.
--
-- Most dates have one row, of epoch 0. So the newest epoch is looked for among the others only, and
-- joined: a window over all rows takes many times as long. NOT MATERIALIZED: a condition of the
-- query is then tested while the files are read, in each place by itself.
CREATE VIEW position_valuations AS
WITH stored AS NOT MATERIALIZED (
    SELECT position_id, date, epoch, price_date, fx_date, fx_path, status, quantity,
           cost_basis_local, cost_basis, price, fx_rate, market_value_local, market_value,
           unrealized_gain_local, unrealized_gain
    FROM files
    UNION ALL
    SELECT position_id, date, epoch, price_date, fx_date, fx_path, status, quantity,
           cost_basis_local, cost_basis, price, fx_rate, market_value_local, market_value,
           unrealized_gain_local, unrealized_gain
    FROM merged_files
    UNION ALL
    SELECT position_id, date, epoch, price_date, fx_date, fx_path, status, quantity,
           cost_basis_local, cost_basis, price, fx_rate, market_value_local, market_value,
           unrealized_gain_local, unrealized_gain
    FROM rows_of_postgresql
), readable AS NOT MATERIALIZED (
    SELECT p.portfolio_id, p.security_id, p.base_currency, p.local_currency, p.reprocessing_status,
           s.*
    FROM stored s
    JOIN readable_positions p
      ON p.position_id = s.position_id AND s.date BETWEEN p.first_date AND p.last_date
     AND s.epoch <= p.readable_epoch
), newest AS NOT MATERIALIZED (
    SELECT position_id, date, max(epoch) AS epoch
    FROM readable
    WHERE epoch >= 1
    GROUP BY position_id, date
)
SELECT r.portfolio_id, r.security_id, r.date, r.base_currency, r.local_currency,
       CASE r.status WHEN 0 THEN 'VALUED_CURRENT' ELSE 'VALUED_STALE' END AS valuation_status,
       r.reprocessing_status, r.quantity, r.cost_basis_local, r.cost_basis, r.price, r.price_date,
       r.fx_rate, r.fx_date, r.fx_path, r.market_value_local, r.market_value,
       r.unrealized_gain_local, r.unrealized_gain,
       coalesce(gain_by_price(r.unrealized_gain_local, r.fx_rate), 0) AS price_effect,
       r.unrealized_gain - coalesce(gain_by_price(r.unrealized_gain_local, r.fx_rate), 0)
           AS fx_effect,
       r.epoch
FROM readable r
LEFT JOIN newest n ON n.position_id = r.position_id AND n.date = r.date
WHERE r.epoch = coalesce(n.epoch, r.epoch)
