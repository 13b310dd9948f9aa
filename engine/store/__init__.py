"""PostgreSQL: what is stored and how it is reached. The only floor that knows SQL."""
