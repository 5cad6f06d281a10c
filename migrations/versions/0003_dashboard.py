"""Indexes: the best value of each arm, a study's trials in the order of their values, trials taken from another.

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_trials_best"),
        "trials",
        ["cell_id", "phase", "value"],
        postgresql_where=sa.text("outcome IN ('finished', 'pruned')"),
    )
    op.create_index(op.f("ix_trials_by_value"), "trials", ["study_id", "value", "number"])
    op.create_index(
        op.f("ix_trials_source_trial_id"),
        "trials",
        ["source_trial_id"],
        postgresql_where=sa.text("source_trial_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_trials_source_trial_id"), table_name="trials")
    op.drop_index(op.f("ix_trials_by_value"), table_name="trials")
    op.drop_index(op.f("ix_trials_best"), table_name="trials")
