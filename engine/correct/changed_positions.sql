-- Of each incoming position whose history differs from the stored one: the first date that differs,
-- the dates whose values can change, and the dates on which it is open from now on.
CREATE TEMP TABLE changed_positions ON COMMIT DROP AS
WITH timeline AS (
    SELECT position_id, position_date, differs,
           lead(position_date) OVER (PARTITION BY position_id ORDER BY position_date) AS next_date
    FROM target_history
), reach AS (
    SELECT position_id, min(position_date) AS first_change,
           range_agg(daterange(position_date, next_date)) AS dates
    FROM timeline
    WHERE differs
    GROUP BY position_id
), kept AS (
    SELECT position_id, position_date, quantity,
           lag(quantity, 1, 0) OVER (PARTITION BY position_id ORDER BY position_date) AS previous,
           lead(position_date) OVER (PARTITION BY position_id ORDER BY position_date) AS next_date
    FROM target_history
    WHERE stays
), opens AS (
    SELECT position_id, COALESCE(range_agg(
               CASE WHEN quantity <> 0 THEN daterange(position_date, next_date)
                    WHEN previous <> 0 THEN daterange(position_date, position_date, '[]') END),
               '{}') AS open_dates
    FROM kept
    GROUP BY position_id
)
SELECT p.position_id, r.first_change, COALESCE(o.open_dates, '{}') AS open_dates,
       r.dates + (COALESCE(o.open_dates, '{}') - p.open_dates) AS affected,
       COALESCE(o.open_dates, '{}') <> p.open_dates AS opens_or_closes,
       COALESCE(r.first_change <= p.frontier_date, false) AS is_correction
FROM reach r
JOIN position_state p USING (position_id)
LEFT JOIN opens o USING (position_id)
