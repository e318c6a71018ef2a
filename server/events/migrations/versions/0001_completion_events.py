"""The first table of completion events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER: sa.Double[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "completion_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("completion_id", sa.String(128), nullable=False),
        sa.Column("choice", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("after_s", sa.SmallInteger(), nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.String(128), nullable=False),
        sa.Column("language", sa.String(128), nullable=False),
        sa.Column("client", sa.String(128), nullable=False),
        sa.Column("shown_chars", sa.Integer(), nullable=False),
        sa.Column("chars", sa.Integer(), nullable=False),
        sa.Column("latency_ms", NUMBER),
        sa.Column("kept_ratio", NUMBER),
        sa.UniqueConstraint("completion_id", "choice", "kind", "after_s", name="completion_events_once"),
    )
    op.create_index("completion_events_day", "completion_events", ["day"])


def downgrade() -> None:
    op.drop_table("completion_events")
