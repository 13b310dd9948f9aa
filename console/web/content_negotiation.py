"""Which kind of answer a request would rather have: the header Accept, as RFC 9110 (12.5.1) reads it."""

from collections.abc import Sequence


def chosen(accept: str, kinds: Sequence[str]) -> str | None:
    """The kind of the highest quality, by the most specific range that names it; of several the first in `accept`, then in
    `kinds`. None when none of them is wanted."""
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    wanted = []
    for number, kind in enumerate(kinds):
        names = (kind, f"{kind.partition('/')[0]}/*", "*/*")
        place = next(
            (place for name in names for place, (given, _) in enumerate(ranges) if given == name),
            None,
        )
        if place is not None and ranges[place][1] > 0:
            wanted.append((-ranges[place][1], place, number))
    return kinds[min(wanted)[2]] if wanted else None


def _range(part: str) -> tuple[str, float]:
    """The media range and its quality: 1 without one, 0 where it is none. Other parameters do not matter here."""
    name, *parameters = (each.strip().lower() for each in part.split(";"))
    given = [
        value
        for each in parameters
        for key, _, value in [each.partition("=")]
        if key.strip() == "q"
    ]
    try:
        quality = float(given[0]) if given else 1.0
    except ValueError:
        return name, 0.0
    return name, quality if 0 <= quality <= 1 else 0.0
