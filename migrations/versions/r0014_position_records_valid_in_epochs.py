"""Store each position record once, valid from an epoch to an epoch, in place of copied histories.

Before, each correction of a position copied its whole history under the new epoch: n daily files
made n(n+1)/2 rows. Now it ends the records that it changes or removes, and adds the new ones.

upgrade() makes one row of the copies that are equal in consecutive histories; downgrade() writes
the copies again, one history for each epoch in which records begin or end.
"""

from alembic import op

from revalue.migrations import objects

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# The history of a position under epoch e: its records with
# valid_from_epoch <= e AND (valid_to_epoch IS NULL OR valid_to_epoch > e).
POSITION_HISTORY = """
    CREATE TABLE position_history (
        position_id      bigint NOT NULL REFERENCES position_state,
        position_date    date NOT NULL CONSTRAINT position_date_between_1900_and_2200
                         CHECK (position_date BETWEEN '1900-01-01' AND '2200-12-31'),
        valid_from_epoch integer NOT NULL CHECK (valid_from_epoch >= 0),
        valid_to_epoch   integer,
        quantity         numeric(28, 10) NOT NULL CHECK (quantity <> 'NaN'),
        cost_basis_local numeric(28, 10) NOT NULL CHECK (cost_basis_local <> 'NaN'),
        cost_basis       numeric(28, 10) NOT NULL CHECK (cost_basis <> 'NaN'),
        CHECK (valid_to_epoch > valid_from_epoch),
        CHECK (quantity <> 0 OR (cost_basis_local = 0 AND cost_basis = 0))
    )
"""

# The histories of a position are numbered. Over consecutive histories that have an equal record,
# the history's number less the record's own number is the same: a run.
MERGE_COPIES = """
    INSERT INTO position_history
        (position_id, position_date, valid_from_epoch, valid_to_epoch, quantity, cost_basis_local,
         cost_basis)
    SELECT position_id, position_date, min(epoch),
           CASE WHEN bool_and(next_epoch IS NOT NULL) THEN max(next_epoch) END,
           quantity, cost_basis_local, cost_basis
    FROM (
        SELECT c.*, h.next_epoch,
               h.number - row_number() OVER (
                   PARTITION BY c.position_id, c.position_date, c.quantity, c.cost_basis_local,
                                c.cost_basis
                   ORDER BY c.epoch) AS run
        FROM position_copies c
        JOIN (
            SELECT position_id, epoch, row_number() OVER of_position AS number,
                   lead(epoch) OVER of_position AS next_epoch
            FROM (SELECT DISTINCT position_id, epoch FROM position_copies) histories
            WINDOW of_position AS (PARTITION BY position_id ORDER BY epoch)
        ) h USING (position_id, epoch)
    ) numbered
    GROUP BY position_id, position_date, quantity, cost_basis_local, cost_basis, run
    ORDER BY position_id, position_date, min(epoch)
"""

# At most one record of a date is valid, whatever the code does.
VALID = """
    CREATE UNIQUE INDEX position_history_valid ON position_history (position_id, position_date)
    WHERE valid_to_epoch IS NULL
"""

POSITION_HISTORY_0013 = """
    CREATE TABLE position_history (
        position_id      bigint NOT NULL REFERENCES position_state,
        epoch            integer NOT NULL,
        position_date    date NOT NULL CONSTRAINT position_date_between_1900_and_2200
                         CHECK (position_date BETWEEN '1900-01-01' AND '2200-12-31'),
        quantity         numeric(28, 10) NOT NULL CHECK (quantity <> 'NaN'),
        cost_basis_local numeric(28, 10) NOT NULL CHECK (cost_basis_local <> 'NaN'),
        cost_basis       numeric(28, 10) NOT NULL CHECK (cost_basis <> 'NaN'),
        CHECK (quantity <> 0 OR (cost_basis_local = 0 AND cost_basis = 0))
    )
"""

# An extension begins records under the present epoch, which need not be that of a history of 0013:
# the newest of them becomes the history_epoch, under which 0013 looks for the present history.
WRITE_COPIES = (
    """
    CREATE TEMP TABLE histories ON COMMIT DROP AS
    SELECT position_id, valid_from_epoch AS epoch FROM position_records
    UNION
    SELECT position_id, valid_to_epoch FROM position_records WHERE valid_to_epoch IS NOT NULL
    UNION
    SELECT p.position_id, p.history_epoch FROM position_state p
    """,
    """
    INSERT INTO position_history
        (position_id, epoch, position_date, quantity, cost_basis_local, cost_basis)
    SELECT position_id, h.epoch, r.position_date, r.quantity, r.cost_basis_local, r.cost_basis
    FROM histories h
    JOIN position_records r USING (position_id)
    WHERE r.valid_from_epoch <= h.epoch
      AND (r.valid_to_epoch IS NULL OR r.valid_to_epoch > h.epoch)
    ORDER BY position_id, h.epoch, r.position_date
    """,
    """
    UPDATE position_state p
    SET history_epoch = h.epoch
    FROM (SELECT position_id, max(epoch) AS epoch FROM histories GROUP BY position_id) h
    WHERE p.position_id = h.position_id AND p.history_epoch <> h.epoch
    """,
)


def upgrade() -> None:
    _make_way("position_copies")
    op.execute(POSITION_HISTORY)
    op.execute(MERGE_COPIES)
    _finish("position_copies", "position_id, position_date, valid_from_epoch")
    op.execute(VALID)
    objects.apply("0014", "triggers/position_history", "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def downgrade() -> None:
    _make_way("position_records")
    op.execute("DROP INDEX position_history_valid")
    op.execute(POSITION_HISTORY_0013)
    for statement in WRITE_COPIES:
        op.execute(statement)
    _finish("position_records", "position_id, epoch, position_date")
    objects.apply("0013", "triggers/position_history", "functions/grant_revalue_roles")
    op.execute("SELECT grant_revalue_roles()")


def _make_way(name: str) -> None:
    """Give the old table another name, so that the new one has the names of the old one."""
    op.execute("ALTER TABLE position_history DROP CONSTRAINT position_history_pkey")
    op.execute(f"ALTER TABLE position_history RENAME TO {name}")


def _finish(old: str, key: str) -> None:
    """Drop the old table, and give the filled new one its primary key."""
    op.execute(f"DROP TABLE {old}")
    op.execute(f"ALTER TABLE position_history ADD PRIMARY KEY ({key})")
