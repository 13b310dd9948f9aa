"""Pure functions on polars frames: no I/O, no Ray, no clock."""
