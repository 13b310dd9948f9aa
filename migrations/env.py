"""Run the migrations on a connection that the caller gives.

Alembic executes this file for each upgrade or downgrade. There is no alembic.ini: the command
`revalue migrate` and the tests both call the engine's schema module, so that there is one way to
change the schema and one place that knows the address of the database. Each migration has its own
transaction: if one fails, those before it stay applied.
"""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    transaction_per_migration=True,
    on_version_apply=context.config.attributes["on_version_apply"],
)

with context.begin_transaction():
    context.run_migrations()
