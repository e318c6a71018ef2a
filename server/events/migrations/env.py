"""Run by Alembic for each migration, on the connection that server/events/database.py hands over.

A new version of the table: change `event_database.events`, then add a file to `versions/` by hand;
tests/server/events/test_events_store.py compares the two.
"""

from alembic import context

from server.events.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
