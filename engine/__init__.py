"""The engine: knows PostgreSQL and polars, and neither Ray nor a screen."""
