"""The securities that there are."""

from revalue.engine.errors import NotFoundError
from revalue.engine.postgres.statement import Connection, statements

sql = statements(__package__)


async def require_security(connection: Connection, security: str) -> None:
    """Require that there is a security.

    Raises:
        NotFoundError: there is none of this name.
    """
    if not await sql("security_exists").value(connection, security=security):
        raise NotFoundError(f"there is no security {security!r}")
