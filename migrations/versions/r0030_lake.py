"""Snapshots as files of a lake, recorded beside the jobs.

A file is recorded in the transaction that finishes the jobs of its rows, under the moment of that
transaction, as rows in PostgreSQL are. A file that was merged of others has no moment: each of its
rows has the time at which it was committed. The ranges of positions and dates are the index by
which readers find a file. A file that was replaced is listed as unused until it is deleted: readers
that began before may still read it.
"""

from alembic import op

from revalue.migrations import objects

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE lake (
            singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
            address    text NOT NULL,
            lake_id    uuid NOT NULL,
            owner      text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute(
        """
        CREATE TABLE lake_files (
            file_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            path       text NOT NULL,
            row_count  integer NOT NULL CHECK (row_count > 0),
            byte_count bigint NOT NULL CHECK (byte_count > 0),
            sha256     bytea NOT NULL,
            positions  int8range NOT NULL CHECK (NOT isempty(positions)),
            dates      daterange NOT NULL CHECK (NOT isempty(dates)),
            max_epoch  integer NOT NULL CHECK (max_epoch >= 0),
            moment_id  bigint,
            valued_from timestamptz CHECK ((valued_from IS NULL) = (moment_id IS NOT NULL)),
            floor      timestamptz
        )
        """
    )
    op.execute(
        """
        CREATE TABLE lake_unused (
            path  text PRIMARY KEY,
            since timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute("CREATE INDEX lake_files_by_ranges ON lake_files USING gist (positions, dates)")
    objects.apply(
        revision,
        "views/postgres_valuations",
        "functions/refuse_without_lake",
        "views/position_valuations",
        "functions/grant_revalue_roles",
    )
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    # Revision 0029 does not know the files, and readers would miss their rows.
    op.execute(
        """
        DO $$
        BEGIN
            LOCK TABLE lake_files;
            IF EXISTS (SELECT FROM lake_files) THEN
                RAISE EXCEPTION 'the lake has snapshots, which an older revision would not find'
                    USING ERRCODE = 'restrict_violation',
                          HINT = 'Stay at this revision, or restore a backup from before the lake.';
            END IF;
        END $$
        """
    )
    objects.apply(down_revision, "views/position_valuations", "functions/grant_revalue_roles")
    op.execute("DROP FUNCTION refuse_without_lake")
    op.execute("DROP VIEW postgres_valuations")
    op.execute("DROP TABLE lake_unused, lake_files, lake")
