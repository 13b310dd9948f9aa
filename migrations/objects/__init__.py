"""The present definition of every view, function and database trigger, as SQL files.

`functions/` and `views/` have one file per object, `triggers/` has one file per table. A file can
be applied again at any time: it changes nothing then. Migrations apply the files, by name.

How migration 0009 changes an object of 0008, for example the view position_status:

1. `git mv objects/views/position_status.sql objects/until_0008/views/position_status.sql`;
   write the new definition to `objects/views/position_status.sql`.
2. In upgrade(): `objects.apply("0009", "views/position_status")`.
   In downgrade(): `objects.apply("0008", "views/position_status")`.
3. An added object needs no step 1, and downgrade() drops it. A removed object has the `git mv`
   of step 1 alone, and upgrade() drops it.
4. PostgreSQL cannot replace a view with other columns, or a function with other arguments. The
   migration then drops the object and what depends on it, applies them in the order of creation,
   and ends with `SELECT grant_revalue_roles()`, because a new object has no grants.

Older migrations need no change: `definition` gives each the text of its own revision. Migrations
before 0008 have their definitions inline.
"""

from pathlib import Path

from alembic import op

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of all present files, for example "views/position_status"."""
    kinds = ("functions", "views", "triggers")
    files = (path for kind in kinds for path in sorted((FOLDER / kind).glob("*.sql")))
    return [path.relative_to(FOLDER).with_suffix("").as_posix() for path in files]


def definition(name: str, revision: str, folder: Path = FOLDER) -> str:
    """Return the SQL text that an object has at a revision (0008 or later).

    It is in the first folder `until_<revision>` that is not older and has the object, else it is
    the present file. Raises FileNotFoundError if the object is in neither.
    """
    for until in sorted(folder.glob("until_*")):
        path = until / f"{name}.sql"
        if until.name.removeprefix("until_") >= revision and path.exists():
            return path.read_text()
    return (folder / f"{name}.sql").read_text()


def apply(revision: str, *names: str) -> None:
    """Create or replace objects with the definitions they have at a revision, in the given order.

    A DO block, because a file may have several statements and the driver accepts one at a time.
    """
    for name in names:
        block = f"DO $object$ BEGIN\n{definition(name, revision)}\nEND $object$"
        op.get_bind().exec_driver_sql(block)
