"""Control of studies: imports, retries, looks of a sequential study, idempotent requests; and the history of checks.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_VERDICTS = "'PASS', 'FAIL', 'INCONCLUSIVE', 'CHANGED', 'SKIPPED'"


def upgrade() -> None:
    op.add_column("studies", sa.Column("origin", sa.Text, nullable=False, server_default=sa.text("'submitted'")))
    op.create_check_constraint(op.f("ck_studies_origin"), "studies", "origin IN ('submitted', 'imported')")
    op.add_column(
        "studies", sa.Column("looks", postgresql.JSONB, nullable=False, server_default=sa.text("'[]'::jsonb"))
    )
    op.execute("UPDATE studies SET amendments = '[]'::jsonb WHERE amendments = '{}'::jsonb")
    op.alter_column("studies", "amendments", server_default=sa.text("'[]'::jsonb"))
    op.add_column("trials", sa.Column("n_attempts_forgiven", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("trials", sa.Column("revalidation", sa.Text))
    op.create_check_constraint(op.f("ck_trials_revalidation"), "trials", "revalidation IN ('equal', 'different')")
    _create_idempotency_keys()
    _create_checks()
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys, checks TO tangent_service")


def _create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("body_hash", sa.Text, nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("headers", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("body", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("key", "route", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])


def _create_checks() -> None:
    op.create_table(
        "checks",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("optimizer", sa.Text, nullable=False),
        sa.Column("baseline", sa.Text, nullable=False),
        sa.Column("candidate", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("exit_code", sa.SmallInteger, nullable=False),
        sa.Column("report", postgresql.JSONB, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checks")),
        sa.UniqueConstraint("content_hash", name=op.f("uq_checks_content_hash")),
        sa.CheckConstraint(f"verdict IN ({_VERDICTS})", name=op.f("ck_checks_verdict")),
    )
    op.create_index(op.f("ix_checks_name"), "checks", ["name", "id"])


def downgrade() -> None:
    op.drop_table("checks")
    op.drop_table("idempotency_keys")
    op.drop_column("trials", "revalidation")
    op.drop_column("trials", "n_attempts_forgiven")
    op.alter_column("studies", "amendments", server_default=sa.text("'{}'::jsonb"))
    op.drop_column("studies", "looks")
    op.drop_column("studies", "origin")
