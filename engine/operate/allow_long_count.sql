-- Prepare this transaction for counting all positions: it may take :seconds. The groups are far
-- fewer than the planner expects, so that it would sort all positions.
--
-- This statement has the normal time limit, and locks what will be read, so that no lock is waited
-- for longer than that.
SELECT set_config('statement_timeout', :seconds::text || 's', true),
       set_config('enable_sort', 'off', true),
       EXISTS (SELECT FROM position_state), EXISTS (SELECT FROM position_holes),
       EXISTS (SELECT FROM portfolio_valuation_jobs), EXISTS (SELECT FROM dead_letters),
       EXISTS (SELECT FROM portfolios), EXISTS (SELECT FROM business_dates),
       EXISTS (SELECT FROM reprocessing_triggers), EXISTS (SELECT FROM instruments)
