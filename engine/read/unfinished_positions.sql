-- The positions of which some dates are not what readers will see: those that are being
-- reprocessed, or on which dates are due. Readers see what was published before.
SELECT portfolio_id, security_id, reprocessing_status = 'IN_PROGRESS' AS is_reprocessing,
       frontier_date, pending
FROM position_status
WHERE reprocessing_status = 'IN_PROGRESS' OR NOT isempty(pending)
   OR frontier_date IS DISTINCT FROM horizon
