"""Since when keys have been in correction."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from engine.store.statement import Connection, sql


async def since(connection: Connection, keys: Iterable[Any], known_at: datetime | None = None) -> dict[int, datetime]:
    """By position_id, of those of the keys (with position_id and reprocessing_status) that are in correction; at
    `known_at`, or now. What is not recorded, because it was before an upgrade, is left out."""
    positions: Sequence[int] = [key["position_id"] for key in keys if key["reprocessing_status"] == "IN_PROGRESS"]
    if not positions:
        return {}
    rows = await sql("read_since").fetch(connection, positions=positions, known_at=known_at)
    return {row["position_id"]: row["since"] for row in rows}
