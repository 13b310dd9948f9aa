"""Content negotiation: the media type that a request prefers, by its header Accept.

RFC 9110, section 12.5.1. Neither Starlette nor FastAPI implements it.
"""

from collections.abc import Sequence


def choose_media_type(accept: str, available: Sequence[str]) -> str | None:
    """Return the available media type of the highest quality.

    The most specific range that matches a media type gives its quality. Of several with the same
    quality the first in `accept` is chosen, then the first in `available`. An empty header accepts
    everything.

    Returns:
        The media type, or None if none is acceptable.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    acceptable = []
    for number, media_type in enumerate(available):
        names = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        place = next(
            (place for name in names for place, (given, _) in enumerate(ranges) if given == name),
            None,
        )
        if place is not None and ranges[place][1] > 0:
            acceptable.append((-ranges[place][1], place, number))
    return available[min(acceptable)[2]] if acceptable else None


def _range(part: str) -> tuple[str, float]:
    """Parse one range: its name and quality.

    The quality is 1 if none is given, and 0 if it is not a number from 0 to 1. Other parameters
    are ignored.
    """
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
