-- Last position id of this page. NULL (no limit) if at most :limit positions are affected in all;
-- otherwise the :limit-th id after the cursor, affected or not. So the cost of a page follows its
-- size, not the number of affected positions.
--
-- firsts: see queue.sql.
SELECT CASE
    WHEN :cursor::bigint = 0
         AND (SELECT count(*) FROM (
                  SELECT FROM trigger_reach WHERE trigger_id = ANY (:firsts::bigint[])
                  LIMIT :limit::integer + 1) few) <= :limit::integer
    THEN NULL::bigint
    ELSE (SELECT position_id FROM position_state
          WHERE position_id > :cursor
          ORDER BY position_id
          OFFSET :limit::integer - 1 LIMIT 1)
END
