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

No function looks its tables up by the path of its caller. One in plpgsql gets a fixed search_path
from `apply`. An SQL function that readers call has a body of BEGIN ATOMIC or RETURN, which is bound
when it is created; a search_path of its own would keep the planner from inlining it. Such a
function depends on the views that it reads: a migration that drops a view drops these functions
first. The file of a SECURITY DEFINER function ends with REVOKE ... FROM PUBLIC: else anybody could
attach the function to a table of their own, with columns of their own types.
"""

from pathlib import Path

from alembic import op

FOLDER = Path(__file__).parent

_FIXED_PATHS_SINCE = "0009"


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
        text = definition(name, revision)
        if revision >= _FIXED_PATHS_SINCE and "LANGUAGE plpgsql" in text:
            text += _fix_search_path(name.removeprefix("functions/"))
        op.get_bind().exec_driver_sql(f"DO $object$ BEGIN\n{text}\nEND $object$")


def _fix_search_path(function: str) -> str:
    """Return the statement that lets a function find the tables of the schema, whoever calls it.

    pg_temp is last, because PostgreSQL searches it first where it is not named. Not FROM CURRENT:
    that can contain the name of the user who calls.
    """
    return f"""
EXECUTE format(
    'ALTER FUNCTION {function} SET search_path = %I, pg_temp', current_schema());
"""
