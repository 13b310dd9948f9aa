-- Grant the roles revalue_reader, revalue_writer and revalue_engine what each needs; a role that is
-- missing is left out.
--
-- A function and not a part of a migration: an administrator may create the roles later and then
-- call it. There are no default privileges: a table that a later migration creates is closed to
-- all roles until it is listed here. Reader and engine read every table and view except api_tokens,
-- whose rows only valid_api_token() returns, and moment_lock. The writer is for feeds: it reads
-- only what it writes and what a load checks, and the functions of the database triggers record its
-- corrections with the rights of the owner. A partition is granted to nobody: rows are read and
-- written through the table. The engine inserts moments without a
-- time: stamp_moment sets it. ANALYZE by another role than the owner needs MAINTAIN, which
-- PostgreSQL has since version 17. No role may prune: that is for the owner of the tables.
CREATE OR REPLACE FUNCTION grant_revalue_roles() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    readable constant text := '
        alembic_version, currencies, calendars, calendar_openings, business_dates, portfolios,
        instruments, market_prices, security_quote_currencies, fx_rates, currency_pairs,
        valuation_policy, position_state, position_history, reprocessing_triggers,
        portfolio_valuation_jobs, deferred_jobs, dead_letters, fenced_attempts,
        daily_position_snapshots, scheduler_term, moments, publications, job_parts,
        calendar_horizons, position_conversions, trigger_reach, queued_positions,
        position_status, position_valuations, dated_snapshots,
        position_holes, removed_business_dates, current_holes, unstaged_positions,
        snapshot_partitions, job_spans, retention, kept_counts, postgres_valuations, lake,
        lake_files, lake_unused, loads, replaced_prices, replaced_rates, replaced_records';
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO revalue_reader', current_schema());
        EXECUTE format('GRANT SELECT ON %s TO revalue_reader', readable);
        GRANT EXECUTE ON FUNCTION valid_api_token TO revalue_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_writer') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO revalue_writer', current_schema());
        GRANT SELECT ON
            alembic_version, currencies, calendars, business_dates, instruments, market_prices,
            fx_rates
            TO revalue_writer;
        GRANT INSERT, UPDATE, DELETE ON market_prices, fx_rates TO revalue_writer;
        GRANT INSERT (calendar_id) ON calendars TO revalue_writer;
        GRANT INSERT (calendar_id, business_date), DELETE ON business_dates TO revalue_writer;
        GRANT
            INSERT (security_id, currency, contract_multiplier, max_price_age_sessions),
            UPDATE (currency, contract_multiplier, max_price_age_sessions)
            ON instruments TO revalue_writer;
        GRANT EXECUTE ON FUNCTION record_load TO revalue_writer;
        IF NOT has_database_privilege('revalue_writer', current_database(), 'TEMPORARY') THEN
            EXECUTE format(
                'GRANT TEMPORARY ON DATABASE %I TO revalue_writer', current_database());
        END IF;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_engine') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO revalue_engine', current_schema());
        EXECUTE format('GRANT SELECT ON %s TO revalue_engine', readable);
        GRANT INSERT ON
            calendars, business_dates, portfolios, instruments, market_prices,
            security_quote_currencies, fx_rates, position_state, position_history,
            reprocessing_triggers, portfolio_valuation_jobs, deferred_jobs, dead_letters,
            fenced_attempts, daily_position_snapshots, publications, position_holes,
            unstaged_positions, kept_counts, lake, lake_files
            TO revalue_engine;
        GRANT INSERT (xid) ON moments TO revalue_engine;
        GRANT UPDATE ON
            calendars, portfolios, instruments, market_prices, fx_rates, position_state,
            reprocessing_triggers, portfolio_valuation_jobs, deferred_jobs, dead_letters,
            scheduler_term, publications, kept_counts
            TO revalue_engine;
        GRANT UPDATE (valid_to_epoch) ON position_history TO revalue_engine;
        GRANT DELETE ON position_history, deferred_jobs, unstaged_positions TO revalue_engine;
        -- A load numbers new positions before it writes them.
        EXECUTE format('GRANT USAGE ON SEQUENCE %s TO revalue_engine',
                       pg_get_serial_sequence('position_state', 'position_id'));
        GRANT USAGE, UPDATE ON SEQUENCE valuation_job_ids, valuation_task_ids TO revalue_engine;
        GRANT EXECUTE ON FUNCTION valid_api_token, make_snapshot_partitions, record_load
            TO revalue_engine;
        IF NOT has_database_privilege('revalue_engine', current_database(), 'TEMPORARY') THEN
            EXECUTE format(
                'GRANT TEMPORARY ON DATABASE %I TO revalue_engine', current_database());
        END IF;
        IF current_setting('server_version_num')::integer >= 170000 THEN
            EXECUTE 'GRANT MAINTAIN ON business_dates, portfolios, instruments, fx_rates, '
                'position_state TO revalue_engine';
        END IF;
    END IF;
END $$;

REVOKE ALL ON FUNCTION grant_revalue_roles FROM PUBLIC;
