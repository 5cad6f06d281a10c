"""The ledger: studies, arms, cells, trials, attempts, measurements, workers, events, reports; roles and grants.

Revision: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROLES = """
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tangent_service', 'tangent_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this cluster migrated in the same moment; roles are shared
            END;
        END IF;
    END LOOP;
END $$
"""
_GRANTS = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tangent_service",
    "REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM tangent_service",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO tangent_worker",
    "GRANT INSERT, UPDATE ON attempts, measurements, environments, workers TO tangent_worker",
    "GRANT INSERT ON events TO tangent_worker",
    "GRANT UPDATE ON trials TO tangent_worker",
    "GRANT INSERT, UPDATE ON reports TO tangent_worker",
    "GRANT UPDATE (n_waiting, n_running, n_complete, n_pruned, n_fail, n_diverged, revision, code_revision, started_at)"
    " ON studies TO tangent_worker",
)


def upgrade() -> None:
    op.create_table(
        "environments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
    )
    op.create_table(
        "studies",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'RUNNING'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("spec_hash", sa.Text(), nullable=False),
        sa.Column("workload", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("code_revision", sa.Text(), nullable=True),
        sa.Column(
            "environment",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("weight", sa.Double(), server_default=sa.text("1"), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("trial_s", sa.Double(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_waiting", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_complete", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_pruned", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_fail", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_diverged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "amendments", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('RUNNING', 'PAUSED', 'FINISHED', 'FAILED', 'CANCELLED')", name=op.f("ck_studies_state")
        ),
        sa.CheckConstraint("weight > 0 AND weight < 'Infinity'", name=op.f("ck_studies_weight")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["studies.id"], name=op.f("fk_studies_parent_id_studies"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
    )
    op.create_index(
        "ix_studies_active",
        "studies",
        ["priority", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('RUNNING', 'PAUSED')"),
    )
    op.create_table(
        "arms",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("optimizer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_arms_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arms")),
        sa.UniqueConstraint("study_id", "name", name=op.f("uq_arms_study_id_name")),
    )
    op.create_table(
        "events",
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column(
            "data", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_events_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "revision", name=op.f("pk_events")),
    )
    op.create_table(
        "reports",
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_reports_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_reports")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'online'"), nullable=False),
        sa.Column("queues", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("devices", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("n_slots", sa.Integer(), nullable=False),
        sa.Column("code_revision", sa.Text(), nullable=False),
        sa.Column("environment_id", sa.Text(), nullable=False),
        sa.Column(
            "optimizers", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "workloads", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('online', 'draining', 'offline')", name=op.f("ck_workers_state")),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_workers_environment_id_environments")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index("ix_workers_heartbeat_at", "workers", ["heartbeat_at"], unique=False)
    op.create_table(
        "cells",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("arm_id", sa.BigInteger(), nullable=False),
        sa.Column("replicate", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'search'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("winner", sa.Integer(), nullable=True),
        sa.Column("amendment", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_cell_number", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "sampler_state",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "state IN ('search', 'select', 'confirm', 'finished', 'failed')", name=op.f("ck_cells_state")
        ),
        sa.ForeignKeyConstraint(["arm_id"], ["arms.id"], name=op.f("fk_cells_arm_id_arms"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_cells_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cells")),
        sa.UniqueConstraint("arm_id", "replicate", name=op.f("uq_cells_arm_id_replicate")),
    )
    op.create_index("ix_cells_study_id", "cells", ["study_id"], unique=False)
    op.create_table(
        "trials",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("study_id", sa.BigInteger(), nullable=False),
        sa.Column("cell_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cell_number", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.Column("seed_index", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("optimizer", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sort_key", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'WAITING'"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("worker_id", sa.UUID(), nullable=True),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_cancel_requested", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("prune_decision", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("checkpoint", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("content_key", sa.Text(), nullable=True),
        sa.Column("source_trial_id", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("test_value", sa.Double(), nullable=True),
        sa.Column(
            "metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("n_steps", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("cpu_s", sa.Double(), nullable=True),
        sa.Column("is_told", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'RUNNING') = (lease_expires_at IS NOT NULL)", name=op.f("ck_trials_running_has_lease")
        ),
        sa.CheckConstraint("value > 0 AND value < 'Infinity'", name=op.f("ck_trials_value")),
        sa.CheckConstraint("test_value > 0 AND test_value < 'Infinity'", name=op.f("ck_trials_test_value")),
        sa.CheckConstraint(
            "(state IN ('COMPLETE', 'PRUNED', 'FAIL')) = (outcome IS NOT NULL)",
            name=op.f("ck_trials_finished_has_outcome"),
        ),
        sa.CheckConstraint(
            "outcome IN ('finished', 'diverged', 'pruned', 'lost', 'out_of_memory', "
            "'workload_error', 'time_limit', 'cancelled')",
            name=op.f("ck_trials_outcome"),
        ),
        sa.CheckConstraint(
            "phase IN ('search', 'select', 'confirm', 'calibrate', 'reproduce')", name=op.f("ck_trials_phase")
        ),
        sa.CheckConstraint(
            "state IN ('WAITING', 'RUNNING', 'COMPLETE', 'PRUNED', 'FAIL')", name=op.f("ck_trials_state")
        ),
        sa.ForeignKeyConstraint(["cell_id"], ["cells.id"], name=op.f("fk_trials_cell_id_cells"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["source_trial_id"], ["trials.id"], name=op.f("fk_trials_source_trial_id_trials"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_trials_study_id_studies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sa.UniqueConstraint("cell_id", "cell_number", name=op.f("uq_trials_cell_id_cell_number")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_trials_study_id_number")),
    )
    op.create_index(
        "ix_trials_content_key",
        "trials",
        ["content_key"],
        unique=False,
        postgresql_where=sa.text("content_key IS NOT NULL"),
    )
    op.create_index(
        "ix_trials_leases", "trials", ["lease_expires_at"], unique=False, postgresql_where=sa.text("state = 'RUNNING'")
    )
    op.create_index(
        "ix_trials_untold",
        "trials",
        ["study_id"],
        unique=False,
        postgresql_where=sa.text("outcome IS NOT NULL AND NOT is_told"),
    )
    op.create_index(
        "ix_trials_waiting",
        "trials",
        ["study_id", "sort_key"],
        unique=False,
        postgresql_where=sa.text("state = 'WAITING'"),
    )
    op.create_table(
        "attempts",
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.UUID(), nullable=True),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("log_tail", sa.Text(), nullable=True),
        sa.Column("resumed_from_step", sa.BigInteger(), nullable=True),
        sa.Column("environment_id", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('finished', 'diverged', 'pruned', 'lost', 'out_of_memory', "
            "'workload_error', 'time_limit', 'cancelled', 'released')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_attempts_environment_id_environments")
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.id"], name=op.f("fk_attempts_trial_id_trials"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "measurements",
        sa.Column("trial_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column(
            "metrics", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "layers", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.id"], name=op.f("fk_measurements_trial_id_trials"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", "epoch", name=op.f("pk_measurements")),
    )
    op.execute(_ROLES)
    for grant in _GRANTS:
        op.execute(grant)


def downgrade() -> None:
    op.drop_table("measurements")
    op.drop_table("attempts")
    op.drop_index("ix_trials_waiting", table_name="trials", postgresql_where=sa.text("state = 'WAITING'"))
    op.drop_index(
        "ix_trials_untold", table_name="trials", postgresql_where=sa.text("outcome IS NOT NULL AND NOT is_told")
    )
    op.drop_index("ix_trials_leases", table_name="trials", postgresql_where=sa.text("state = 'RUNNING'"))
    op.drop_index("ix_trials_content_key", table_name="trials", postgresql_where=sa.text("content_key IS NOT NULL"))
    op.drop_table("trials")
    op.drop_index("ix_cells_study_id", table_name="cells")
    op.drop_table("cells")
    op.drop_index("ix_workers_heartbeat_at", table_name="workers")
    op.drop_table("workers")
    op.drop_table("reports")
    op.drop_table("events")
    op.drop_table("arms")
    op.drop_index("ix_studies_active", table_name="studies", postgresql_where=sa.text("state IN ('RUNNING', 'PAUSED')"))
    op.drop_table("studies")
    op.drop_table("environments")
