-- Make the space of the deleted rows usable again. A table that somebody else works on is left to
-- autovacuum, and so is one that is not the user's. Without ANALYZE: it would keep others from
-- making a month of snapshots meanwhile.
VACUUM (SKIP_LOCKED) daily_position_snapshots, publications, portfolio_valuation_jobs, job_parts,
    position_holes, dead_letters, reprocessing_triggers, fenced_attempts, loads, replaced_prices,
    replaced_rates, replaced_records, confirmations
