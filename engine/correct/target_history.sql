-- The position records that each incoming position has, and those that it will have, by date.
--
-- A load replaces the history from the first date that it gives; :merge keeps the later records
-- that it does not mention.
CREATE TEMP TABLE target_history ON COMMIT DROP AS
WITH given AS (
    SELECT p.position_id, i.position_date, i.quantity::numeric(28, 10) AS quantity,
           i.cost_basis_local::numeric(28, 10) AS cost_basis_local,
           i.cost_basis::numeric(28, 10) AS cost_basis
    FROM incoming i JOIN position_state p USING (portfolio_id, security_id)
), earliest AS (
    SELECT position_id, p.history_epoch, min(g.position_date) AS first_given
    FROM given g JOIN position_state p USING (position_id)
    GROUP BY position_id, p.history_epoch
), was AS (
    SELECT h.position_id, h.position_date, h.quantity, h.cost_basis_local, h.cost_basis,
           h.position_date < e.first_given OR :merge::boolean AS is_kept
    FROM earliest e
    JOIN position_history h ON h.position_id = e.position_id AND h.epoch = e.history_epoch
)
SELECT position_id, position_date,
       CASE WHEN g.quantity IS NULL THEN w.quantity ELSE g.quantity END AS quantity,
       CASE WHEN g.quantity IS NULL THEN w.cost_basis_local ELSE g.cost_basis_local END
           AS cost_basis_local,
       CASE WHEN g.quantity IS NULL THEN w.cost_basis ELSE g.cost_basis END AS cost_basis,
       g.quantity IS NOT NULL AS is_given,
       w.quantity IS NOT NULL AS existed,
       g.quantity IS NOT NULL OR w.is_kept AS stays,
       CASE WHEN w.quantity IS NULL THEN true
            WHEN g.quantity IS NULL THEN NOT w.is_kept
            ELSE (w.quantity, w.cost_basis_local, w.cost_basis)
                 IS DISTINCT FROM (g.quantity, g.cost_basis_local, g.cost_basis) END AS differs
FROM given g FULL JOIN was w USING (position_id, position_date)
