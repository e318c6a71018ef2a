"""Alembic runs this for each migration, on the connection that server/events/database.py passes in.

To change the table, change `events` in server/events/database.py and add a file to `versions/` by hand;
tests/server/events/test_events_store.py compares the two.
"""

from alembic import context

from server.events.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
