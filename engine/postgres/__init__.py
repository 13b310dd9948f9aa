"""PostgreSQL: connections, statements, Arrow readers, the embedded server, the schema's version."""
