"""Add database roles and API tokens, and the history of what readers saw (moments, publications).

History: the present definition of each view, function and trigger is in migrations/objects.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

READ = (
    "alembic_version, currencies, calendars, business_dates, portfolios, instruments, "
    "market_prices, security_quote_currencies, fx_rates, valuation_policy, position_state, "
    "position_history, reprocessing_triggers, portfolio_valuation_jobs, deferred_jobs, "
    "dead_letters, fenced_attempts, daily_position_snapshots, scheduler_term, moments, "
    "publications, job_parts, position_conversions, trigger_reach, queued_keys, position_status, "
    "position_valuations, dated_snapshots"
)
"""Every table and view except api_tokens: valid_api_token answers for one hash at a time."""

INSERTED = (
    "calendars, business_dates, portfolios, instruments, market_prices, security_quote_currencies, "
    "fx_rates, position_state, position_history, reprocessing_triggers, portfolio_valuation_jobs, "
    "deferred_jobs, dead_letters, fenced_attempts, daily_position_snapshots, moments, "
    "publications, job_parts"
)
UPDATED = (
    "calendars, portfolios, instruments, market_prices, fx_rates, position_state, "
    "reprocessing_triggers, portfolio_valuation_jobs, deferred_jobs, dead_letters, scheduler_term, "
    "moments, publications"
)
DELETED = "position_history, deferred_jobs"
ANALYZED = "business_dates, portfolios, instruments, fx_rates, position_state"

MOMENTS = (
    # One row per transaction that changes what readers see. Transactions stamp it while they
    # commit, one at a time. Therefore a reader that sees a moment sees every earlier one, and
    # "known at" a moment is what a reader then saw.
    """
    CREATE TABLE moments (
        moment_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at        timestamptz
    )
    """,
    "CREATE INDEX moments_at ON moments (at)",
    """
    CREATE FUNCTION current_moment() RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        own text := current_setting('revalue.moment', true);
    BEGIN
        IF own IS NULL OR own = '' THEN
            INSERT INTO moments DEFAULT VALUES RETURNING moment_id::text INTO own;
            PERFORM set_config('revalue.moment', own, true);
        END IF;
        RETURN own::bigint;
    END $$
    """,
    """
    CREATE FUNCTION stamp_moment() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(7263548203);
        UPDATE moments SET at = GREATEST(clock_timestamp(), (SELECT max(at) FROM moments) + interval '1 microsecond')
        WHERE moment_id = NEW.moment_id;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER moment_stamped AFTER INSERT ON moments DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION stamp_moment()
    """,
    # What readers see of a position from this moment on: the history of an epoch, on the dates on
    # which the position is open. stale_moment: that of the first correction which this publication
    # answers.
    """
    CREATE TABLE publications (
        position_id  bigint NOT NULL,
        moment_id    bigint NOT NULL,
        epoch        integer NOT NULL,
        open_dates   datemultirange NOT NULL,
        stale_moment bigint,
        PRIMARY KEY (position_id, moment_id)
    )
    """,
    # For a job that committed in parts: which rows came with which moment. The last rows came with
    # the job's own moment.
    """
    CREATE TABLE job_parts (
        job_id         bigint NOT NULL,
        valued_through date NOT NULL,
        moment_id      bigint NOT NULL,
        PRIMARY KEY (job_id, valued_through)
    )
    """,
    # NULL: older than moments are, so known at all of them.
    "ALTER TABLE portfolio_valuation_jobs ADD COLUMN moment_id bigint",
    "ALTER TABLE business_dates ADD COLUMN moment_id bigint",
    "ALTER TABLE business_dates ALTER COLUMN moment_id SET DEFAULT current_moment()",
    "ALTER TABLE reprocessing_triggers ADD COLUMN moment_id bigint",
    "ALTER TABLE reprocessing_triggers ALTER COLUMN moment_id SET DEFAULT current_moment()",
    "ALTER TABLE position_state ADD COLUMN stale_moment bigint",
    """
    INSERT INTO publications (position_id, moment_id, epoch, open_dates)
    SELECT position_id, (SELECT current_moment()), published_epoch, published_open_dates FROM position_state
    ORDER BY position_id
    """,
    """
    CREATE VIEW dated_snapshots AS
    SELECT s.*, COALESCE(m.at, '-infinity') AS valued_at
    FROM daily_position_snapshots s
    LEFT JOIN portfolio_valuation_jobs j ON j.job_id = s.job_id
    LEFT JOIN LATERAL (
        SELECT k.moment_id FROM job_parts k
        WHERE k.job_id = s.job_id AND k.valued_through >= s.date
        ORDER BY k.valued_through
        LIMIT 1
    ) part ON true
    LEFT JOIN moments m ON m.moment_id = COALESCE(part.moment_id, j.moment_id)
    """,
    """
    CREATE FUNCTION keys_at(known_at timestamptz)
    RETURNS TABLE (position_id bigint, portfolio_id text, security_id text, epoch integer, open_dates datemultirange,
                   reprocessing_status text)
    LANGUAGE sql STABLE AS $$
        SELECT p.position_id, p.portfolio_id, p.security_id, u.epoch, u.open_dates,
               CASE WHEN (p.published_epoch < p.epoch
                          AND EXISTS (SELECT FROM moments m WHERE m.moment_id = p.stale_moment AND m.at <= known_at))
                      OR EXISTS (SELECT FROM publications n
                                 JOIN moments m ON m.moment_id = n.moment_id
                                 JOIN moments c ON c.moment_id = n.stale_moment
                                 WHERE n.position_id = p.position_id AND m.at > known_at AND c.at <= known_at)
                      OR (EXISTS (SELECT FROM reprocessing_triggers WHERE fanned_out_at IS NULL)
                          AND EXISTS (SELECT FROM trigger_reach r
                                      JOIN reprocessing_triggers t ON t.trigger_id = r.trigger_id
                                      LEFT JOIN moments m ON m.moment_id = t.moment_id
                                      WHERE r.fanned_out_at IS NULL AND r.position_id = p.position_id
                                        AND COALESCE(m.at, '-infinity') <= known_at
                                        AND NOT isempty(r.dates * p.open_dates
                                                        * datemultirange(daterange(
                                                            NULL, COALESCE(p.frontier_date, '-infinity'), '(]')))))
                    THEN 'IN_PROGRESS' ELSE 'CURRENT' END
        FROM position_state p
        CROSS JOIN LATERAL (
            SELECT w.epoch, w.open_dates
            FROM publications w JOIN moments m ON m.moment_id = w.moment_id
            WHERE w.position_id = p.position_id AND m.at <= known_at
            ORDER BY m.at DESC
            LIMIT 1
        ) u
    $$
    """,
)

TOKENS = (
    """
    CREATE TABLE api_tokens (
        token_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name       text NOT NULL,
        token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
        scopes     text[] NOT NULL CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'operate']),
        portfolios text[] CHECK (cardinality(portfolios) > 0),
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at timestamptz CHECK (expires_at > created_at),
        revoked_at timestamptz
    )
    """,
    "CREATE UNIQUE INDEX api_tokens_name ON api_tokens (name) WHERE revoked_at IS NULL",
    """
    CREATE FUNCTION valid_api_token(hash bytea) RETURNS SETOF api_tokens
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT AS $$
        SELECT * FROM api_tokens
        WHERE token_hash = hash AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())
    $$
    """,
    "REVOKE ALL ON FUNCTION valid_api_token FROM PUBLIC",
)

# Roles belong to the server. A migration of another database may have created them before, or may
# create them at this moment.
ROLE = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
            CREATE ROLE {role} NOLOGIN;
        END IF;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN
            RAISE WARNING 'role {role} was not created: user % lacks CREATEROLE. An administrator '
                'can run CREATE ROLE {role} NOLOGIN, and then SELECT grant_revalue_roles()',
                current_user;
    END $$
"""

GRANTS = f"""
    CREATE FUNCTION grant_revalue_roles() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_reader') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO revalue_reader', current_schema());
            GRANT SELECT ON {READ} TO revalue_reader;
            GRANT EXECUTE ON FUNCTION valid_api_token TO revalue_reader;
        END IF;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_engine') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO revalue_engine', current_schema());
            GRANT SELECT ON {READ} TO revalue_engine;
            GRANT INSERT ON {INSERTED} TO revalue_engine;
            GRANT UPDATE ON {UPDATED} TO revalue_engine;
            GRANT DELETE ON {DELETED} TO revalue_engine;
            GRANT USAGE, UPDATE ON SEQUENCE valuation_job_ids, valuation_task_ids TO revalue_engine;
            GRANT EXECUTE ON FUNCTION valid_api_token TO revalue_engine;
            IF NOT has_database_privilege('revalue_engine', current_database(), 'TEMPORARY') THEN
                EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO revalue_engine', current_database());
            END IF;
            IF current_setting('server_version_num')::integer >= 170000 THEN
                EXECUTE 'GRANT MAINTAIN ON {ANALYZED} TO revalue_engine';
            END IF;
        END IF;
    END $$
"""

# Keep a role that has privileges in another database of the server or that has a member. Since
# PostgreSQL 16 the creator of a role is a member with the admin option, and does not count.
FORGET = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
            RETURN;
        END IF;
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM {role}', current_schema());
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM {role}', current_schema());
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM {role}', current_schema());
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM {role}', current_database());
        REVOKE ALL ON FUNCTION valid_api_token FROM {role};
        IF NOT EXISTS (SELECT FROM pg_auth_members g JOIN pg_roles r ON r.oid = g.roleid
                       WHERE r.rolname = '{role}' AND NOT g.admin_option) THEN
            BEGIN
                DROP ROLE {role};
            EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
                RAISE NOTICE 'role {role} is kept: %', SQLERRM;
            END;
        END IF;
    END $$
"""

ROLES = ("revalue_reader", "revalue_engine")


def upgrade() -> None:
    for statement in (*MOMENTS, *TOKENS):
        op.execute(statement)
    for role in ROLES:
        op.execute(ROLE.format(role=role))
    op.execute(GRANTS)
    op.execute("REVOKE ALL ON FUNCTION grant_revalue_roles FROM PUBLIC")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    for role in ROLES:
        op.execute(FORGET.format(role=role))
    op.execute("DROP FUNCTION grant_revalue_roles, valid_api_token, keys_at")
    op.execute("DROP VIEW dated_snapshots")
    op.execute("DROP TABLE api_tokens, job_parts, publications")
    for table, column in (
        ("position_state", "stale_moment"),
        ("reprocessing_triggers", "moment_id"),
        ("business_dates", "moment_id"),
        ("portfolio_valuation_jobs", "moment_id"),
    ):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    op.execute("DROP TABLE moments")
    op.execute("DROP FUNCTION stamp_moment, current_moment")
