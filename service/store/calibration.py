"""What the ledger knows of a workload's earlier trainings: how long one takes, how much replicates vary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Earlier:
    """Earlier trainings of one workload.

    Attributes:
        n_runs: Trainings that finished.
        run_s: Their mean duration in seconds.
        components: (within_sd, between_sd) of every comparison in their reports that has both.
    """

    n_runs: int
    run_s: float
    components: tuple[tuple[float, float], ...]


def earlier_runs(
    connection: Connection, workload: str, options: Mapping[str, Any], device: str, *, n_studies: int = 5
) -> Earlier | None:
    """What the latest studies of the same workload, options and device class measured; None without a run."""
    arguments = {"workload": workload, "options": json.dumps(dict(options)), "device": device, "n": n_studies}
    studies = """
        SELECT id FROM studies
        WHERE workload = :workload AND device = :device AND origin = 'submitted'
          AND spec #> '{workload,options}' = CAST(:options AS jsonb)
        ORDER BY id DESC LIMIT :n
    """
    runs = text(f"""
        SELECT count(*) AS n, avg(duration_s) AS run_s FROM trials
        WHERE study_id IN ({studies}) AND outcome = 'finished' AND duration_s > 0
    """)
    row = connection.execute(runs, arguments).one()
    if not row.n:
        return None
    spread = text(f"""
        SELECT (c ->> 'within_sd')::float AS within, (c ->> 'between_sd')::float AS between
        FROM reports r CROSS JOIN LATERAL jsonb_array_elements(r.report -> 'comparisons') c
        WHERE r.study_id IN ({studies}) AND c ->> 'within_sd' IS NOT NULL AND c ->> 'between_sd' IS NOT NULL
          AND (c #>> '{{effect,n}}')::int >= 3
    """)
    components = tuple((entry.within, entry.between) for entry in connection.execute(spread, arguments))
    return Earlier(int(row.n), float(row.run_s), components)
