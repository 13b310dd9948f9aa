"""Add the database role revalue_writer: for feeds of prices, rates, business days, instruments.

A feed needed revalue_engine, which may rewrite epochs, jobs and the scheduler's term.
"""

from alembic import op

from revalue.migrations import objects

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A role belongs to the server: a migration of another database may have created it before, or may
# create it at this moment.
CREATE_ROLE = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_writer') THEN
            CREATE ROLE revalue_writer NOLOGIN;
        END IF;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN NULL;
        WHEN insufficient_privilege THEN NULL;  -- `revalue migrate` says what to do
    END $$
"""

# Keep a role that has privileges in another database of the server or that has a member. Since
# PostgreSQL 16 the creator of a role is a member with the admin option, and does not count.
DROP_ROLE = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'revalue_writer') THEN
            RETURN;
        END IF;
        EXECUTE format(
            'REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM revalue_writer', current_schema());
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM revalue_writer', current_schema());
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM revalue_writer', current_database());
        IF NOT EXISTS (SELECT FROM pg_auth_members g JOIN pg_roles r ON r.oid = g.roleid
                       WHERE r.rolname = 'revalue_writer' AND NOT g.admin_option) THEN
            BEGIN
                DROP ROLE revalue_writer;
            EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
                RAISE NOTICE 'role revalue_writer is kept: %', SQLERRM;
            END;
        END IF;
    END $$
"""


def upgrade() -> None:
    op.execute(CREATE_ROLE)
    objects.apply("0010", "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    objects.apply("0009", "functions/grant_revalue_roles")
    op.execute(DROP_ROLE)
