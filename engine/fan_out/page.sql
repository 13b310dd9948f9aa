-- Where a page of positions ends: nowhere, if the triggers reach no more than :most positions in all, else at the :most-th position of the
-- book, reached or not. So a page costs what it holds, however many there are. firsts: see fan_out_queue.
SELECT CASE WHEN :cursor::bigint = 0 AND (SELECT count(*) FROM (
                SELECT FROM trigger_reach WHERE trigger_id = ANY (:firsts::bigint[]) LIMIT :most::integer + 1) few) <= :most::integer
            THEN NULL::bigint
            ELSE (SELECT position_id FROM position_state
                  WHERE position_id > :cursor ORDER BY position_id OFFSET :most::integer - 1 LIMIT 1) END
