-- For how many seconds the oldest position has been reprocessing, and the oldest has been waiting
-- for data; NULL: there is none.
--
-- A position waits since its job was made, and ids of jobs ascend in time. It reprocesses since its
-- correction was written, or since the oldest queued trigger was.
SELECT extract(epoch FROM clock_timestamp() - LEAST(
           (SELECT min(created_at) FROM reprocessing_triggers
            WHERE trigger_id = ANY (:triggers::bigint[])),
           (SELECT min(created_at) FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
       ))::double precision AS reprocessing,
       extract(epoch FROM clock_timestamp() -
           (SELECT created_at FROM portfolio_valuation_jobs WHERE job_id = :waiting_job::bigint)
       )::double precision AS waiting
