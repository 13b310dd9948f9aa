"""Alembic's entry point: runs the migrations on the connection that `engine.postgres.schema` hands over.

There is no alembic.ini: the command line (`revalue migrate`) and the tests both call `engine.postgres.schema`,
so there is one way to change the schema and one place that knows the database's address.
"""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], transaction_per_migration=True
)

with context.begin_transaction():
    context.run_migrations()
