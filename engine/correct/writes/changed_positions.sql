-- For each incoming position whose numbers can change: the first date that changes, the dates
-- whose values can change, and the dates on which it is open from now on.
--
-- What counts is the record in force on each date, before and after. A record that only repeats the
-- one in force changes nothing, and neither does its removal. The open dates stay as they are
-- except where another record is in force, and on the date after that: a quantity of 0 there may
-- close the position now, or no longer.
CREATE TEMP TABLE changed_positions ON COMMIT DROP AS
WITH numbered AS (
    SELECT position_id, position_date, was, becomes, count(was) OVER of_position AS was_no,
           count(becomes) OVER of_position AS becomes_no,
           lead(position_date) OVER of_position AS next_date
    FROM target_history
    WHERE position_id IN (SELECT position_id FROM target_history WHERE ends OR begins)
    WINDOW of_position AS (PARTITION BY position_id ORDER BY position_date)
), in_force AS (
    SELECT position_id, position_date, next_date,
           COALESCE(first_value(was) OVER (PARTITION BY position_id, was_no
                                           ORDER BY position_date), '{0,0,0}') AS was,
           COALESCE(first_value(becomes) OVER (PARTITION BY position_id, becomes_no
                                               ORDER BY position_date), '{0,0,0}') AS becomes
    FROM numbered
), segments AS (
    SELECT position_id, position_date, next_date, was <> becomes AS differs, becomes[1] AS quantity,
           lag(becomes[1], 1, 0) OVER (PARTITION BY position_id ORDER BY position_date) AS previous
    FROM in_force
), changed AS (
    SELECT position_id, min(position_date) FILTER (WHERE differs) AS first_change,
           range_agg(daterange(position_date, next_date)) FILTER (WHERE differs) AS dates,
           range_agg(daterange(position_date, next_date, '[]')) FILTER (WHERE differs) AS touched,
           COALESCE(range_agg(
               CASE WHEN quantity <> 0 THEN daterange(position_date, next_date)
                    WHEN previous <> 0 THEN daterange(position_date, position_date, '[]') END),
               '{}') AS opens
    FROM segments
    GROUP BY position_id
    HAVING bool_or(differs)
)
SELECT p.position_id, c.first_change, o.open_dates,
       c.dates + (o.open_dates - p.open_dates) AS affected,
       o.open_dates <> p.open_dates AS opens_or_closes,
       COALESCE(c.first_change <= p.frontier_date, false) AS is_correction
FROM changed c
JOIN position_state p USING (position_id)
CROSS JOIN LATERAL (SELECT p.open_dates - c.touched + c.opens * c.touched AS open_dates) o
