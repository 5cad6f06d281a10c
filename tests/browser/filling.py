"""`python -m tests.browser.filling URL N`: a finished study of four arms with N trials each, with curves and layers.

Everything is computed in Postgres from hashes, so that the same N always gives the same numbers. The trials look like
real ones: the endpoint has an optimum in lr and weight decay, some diverge, some were pruned, curves fall.
"""

import sys

from sqlalchemy import text

from service.domain.catalog import BUILT_IN
from service.domain.space import log
from service.domain.study import Arm, SearchPlan, Study
from service.domain.trial import StudyId
from service.reports import store_report
from service.store.database import Connection, Database
from service.store.studies import insert_study

OPTIMIZERS = ("SGDW", "SGDP", "AdamW", "AdamP")
N_EPOCHS = 10
REPLICATES = 5
LAYERS = ("conv1.weight", "conv2.weight", "fc.weight")

_U = "((hashtextextended(concat({0}), 7) & 9007199254740991) / 9007199254740992.0)"
_TRIALS = """
    WITH place AS (
        SELECT c.id AS cell_id, c.replicate, a.position, a.name, a.optimizer, i,
               CASE WHEN i < {n_search} THEN 'search' WHEN i < {n_search} + {n_select} THEN 'select' ELSE 'confirm' END
                   AS phase,
               ({n_cell} * (c.replicate * {n_arms} + a.position) + i) AS number
        FROM cells c JOIN arms a ON a.id = c.arm_id CROSS JOIN generate_series(0, {n_cell} - 1) i
        WHERE c.study_id = :study_id
    ), drawn AS (
        SELECT *, CASE phase WHEN 'search' THEN i WHEN 'select' THEN (i - {n_search}) % {n_top} ELSE 0 END AS config,
               CASE phase WHEN 'search' THEN 0 WHEN 'select' THEN (i - {n_search}) / {n_top}
                    ELSE i - {n_search} - {n_select} END AS seed_index
        FROM place
    ), params AS (
        SELECT *, {u_lr} AS u_lr, {u_wd} AS u_wd, {u_delta} AS u_delta, {u_ratio} AS u_ratio, {u_noise} AS u_noise,
               {u_fate} AS u_fate
        FROM drawn
    ), valued AS (
        SELECT *, exp(ln(0.09) + 0.9 * (u_lr - 0.6) ^ 2 * 4 + 0.3 * (u_wd - 0.5) ^ 2 + 0.12 * (u_noise - 0.5)
                      - 0.04 * position + CASE WHEN phase = 'search' THEN 0 ELSE 0.02 * (u_fate - 0.5) END) AS endpoint,
               phase = 'search' AND u_lr > 0.985 AS is_diverged,
               phase = 'search' AND u_fate < 0.1 AND u_lr <= 0.985 AS is_pruned
        FROM params
    )
    INSERT INTO trials (study_id, cell_id, number, cell_number, phase, config, seed_index, seed, optimizer, params,
                        sort_key, state, outcome, value, test_value, metrics, n_steps, duration_s, cpu_s, is_told,
                        attempt, created_at, started_at, finished_at)
    SELECT :study_id, cell_id, number, i, phase, config, seed_index, (replicate * {n_cell} + i) * 7 + 1, optimizer,
           jsonb_build_object('lr', 10 ^ (-4 + 3 * u_lr), 'weight_decay', 10 ^ (-4 + 4 * u_wd))
               || CASE WHEN optimizer LIKE '%P' THEN jsonb_build_object('delta', 10 ^ (-2 + 2 * u_delta),
                                                                        'wd_ratio', 10 ^ (-2 + 2 * u_ratio))
                       ELSE '{{}}' END,
           number, CASE WHEN is_pruned THEN 'PRUNED' ELSE 'COMPLETE' END,
           CASE WHEN is_diverged THEN 'diverged' WHEN is_pruned THEN 'pruned' ELSE 'finished' END,
           CASE WHEN is_diverged THEN NULL ELSE endpoint END,
           CASE WHEN phase = 'confirm' THEN endpoint * (1 + 0.05 * (u_fate - 0.5)) END,
           jsonb_build_object('validation_accuracy', 1 - endpoint / 3), 80, 0.9 + 0.2 * u_fate, 0.9 + 0.2 * u_fate,
           true, 1, now() - interval '1 hour' + number * interval '50 ms',
           now() - interval '1 hour' + number * interval '50 ms',
           now() - interval '1 hour' + number * interval '50 ms' + interval '1 second'
    FROM valued
"""
_MEASUREMENTS = """
    INSERT INTO measurements (trial_id, epoch, attempt, step, value, metrics, layers)
    SELECT t.id, e, 1, 8 * e, coalesce(t.value, 2.4) * (1 + 6 * exp(-0.5 * e)),
           jsonb_build_object('train_loss', coalesce(t.value, 2.4) * (0.9 + 6 * exp(-0.55 * e))),
           CASE WHEN t.phase = 'confirm' THEN (
               SELECT jsonb_object_agg(l.name, jsonb_build_object(
                   'weight_norm', (2 + l.place) * (1 + e * CASE WHEN t.optimizer LIKE '%P' THEN 0.05 ELSE 0.2 END),
                   'effective_lr', 0.01 / (1 + e * CASE WHEN t.optimizer LIKE '%P' THEN 0.1 ELSE 0.4 END) ^ 2,
                   'projection_rate', CASE WHEN t.optimizer LIKE '%P' THEN 0.9 * (l.place < 3)::int END,
                   'channel_cos', (CASE WHEN l.place < 3 THEN 0.004 ELSE 0.3 END) * (1 + 0.1 * t.seed_index),
                   'layer_cos', (CASE WHEN l.place < 3 THEN 0.001 ELSE 0.1 END) * (1 + 0.1 * t.seed_index),
                   'channel_threshold', CASE WHEN t.optimizer LIKE '%P' THEN 0.1 / sqrt(9 * l.place) END,
                   'layer_threshold', CASE WHEN t.optimizer LIKE '%P' THEN 0.1 / sqrt(72 * l.place) END,
                   'is_scale_invariant', l.place < 3))
               FROM unnest(CAST(:layers AS text[])) WITH ORDINALITY AS l(name, place)) ELSE '{{}}' END
    FROM trials t CROSS JOIN generate_series(1, :n_epochs) e
    WHERE t.study_id = :study_id
"""
_ATTEMPTS = """
    INSERT INTO attempts (trial_id, attempt, started_at, ended_at, outcome)
    SELECT id, 1, started_at, finished_at, outcome FROM trials WHERE study_id = :study_id
"""
_COUNTERS = """
    UPDATE studies s SET state = 'FINISHED', next_number = c.n, n_complete = c.n - c.n_pruned, n_pruned = c.n_pruned,
           n_diverged = c.n_diverged, started_at = now() - interval '1 hour', finished_at = now()
    FROM (SELECT count(*) AS n, count(*) FILTER (WHERE outcome = 'pruned') AS n_pruned,
                 count(*) FILTER (WHERE outcome = 'diverged') AS n_diverged
          FROM trials WHERE study_id = :study_id) c
    WHERE s.id = :study_id
"""


def fill(
    connection: Connection, n_per_arm: int, *, name: str = "filled", seed: int = 0, is_measured: bool = True
) -> StudyId:
    """Add the study; its arms have `n_per_arm` trials each, at least 100; 30 of a cell in select and confirm.

    Where a cell has fewer than 30 in all, 10 are. Without `is_measured` no trial has a curve.
    """
    n_cell = n_per_arm // REPLICATES
    top, seeds, confirm = (5, 5, 5) if n_cell >= 30 else (2, 3, 4)
    n_search = n_cell - top * seeds - confirm
    space = {"lr": log(1e-4, 1e-1), "weight_decay": log(1e-4, 1.0)}
    projected = {**space, "delta": log(1e-2, 1.0), "wd_ratio": log(1e-2, 1.0)}
    study = Study(
        name=name,
        workload="digits-cnn",
        arms=tuple(
            Arm(optimizer.lower(), optimizer, projected if optimizer.endswith("P") else space)
            for optimizer in OPTIMIZERS
        ),
        compare=(("sgdw", "sgdp"), ("adamw", "adamp")),
        options={"epochs": N_EPOCHS},
        search=SearchPlan(trials=n_search, pruner="median"),
        select_top=top,
        select_seeds=seeds,
        confirm_seeds=confirm,
        replicates=REPLICATES,
        seed=seed,
    )
    environment = {
        "catalog": {"optimizers": {}, "workloads": {"digits-cnn": BUILT_IN.workloads["digits-cnn"].to_dict()}}
    }
    study_id = insert_study(connection, study, environment)
    draws = {
        f"u_{what}": _U.format(f"replicate, '/', config, '/{what}/', {salt}")
        for what, salt in (("lr", "''"), ("wd", "''"), ("delta", "''"), ("ratio", "''"))
    }
    draws |= {f"u_{what}": _U.format(f"name, '/', number, '/{what}'") for what in ("noise", "fate")}
    sizes = {
        "n_search": n_search,
        "n_select": top * seeds,
        "n_top": top,
        "n_cell": n_cell,
        "n_arms": len(OPTIMIZERS),
    }
    connection.execute(text(_TRIALS.format(**sizes, **draws)), {"study_id": study_id})
    connection.execute(text(_ATTEMPTS), {"study_id": study_id})
    arguments = {"study_id": study_id, "n_epochs": N_EPOCHS, "layers": list(LAYERS)}
    if is_measured:
        connection.execute(text(_MEASUREMENTS.format()), arguments)
    connection.execute(
        text("UPDATE cells SET state = 'finished', winner = 0, next_cell_number = :n WHERE study_id = :study_id"),
        {"study_id": study_id, "n": n_cell},
    )
    connection.execute(text(_COUNTERS), {"study_id": study_id})
    return study_id


def main() -> None:
    """Fill the ledger at the given address, and keep the study's report."""
    url, n_per_arm = sys.argv[1], int(sys.argv[2])
    database = Database(url, application_name="tangent-filling")
    with database.transaction() as connection:
        study_id = fill(connection, n_per_arm)
    with database.session() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    store_report(database, study_id)
    print(f"study {study_id}: {len(OPTIMIZERS)} arms of {n_per_arm} trials")  # noqa: T201
    database.close()


if __name__ == "__main__":
    main()
