-- The dates that a trigger affects.
SELECT dates FROM reprocessing_triggers WHERE trigger_id = :trigger
