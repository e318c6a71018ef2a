"""Run by Alembic for each migration, on the connection that server/event_database.py hands over.

A new version of the table: change `event_database.events`, then add a file to `versions/` by hand;
tests/server/test_events_store.py compares the two.
"""

from alembic import context

from server.event_database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
