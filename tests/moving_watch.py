"""python -m tests.moving_watch OPTION...: a `revalue value --watch` that moves as often as it can.

Much is anything at all: it goes to a Ray at once, and comes back as soon as that has rested.
"""

import sys
from functools import partial

from revalue.console.cli import value
from revalue.console.cli.start import main

if __name__ == "__main__":
    value.Moves = partial(value.Moves, much=0, rest_seconds=1.0)  # type: ignore[misc]
    sys.argv = ["revalue", "value", "--watch", *sys.argv[1:]]
    main()
