"""`python -m service.importing WHERE NAME`: take an existing Optuna study into the ledger, as a finished one.

It opens the ledger itself: the study may be a file of this machine that the API cannot see.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from service.catalogs import current_catalog
from service.config import load_settings
from service.domain.imported import ENDPOINTS
from service.errors import TangentError
from service.local_ledger import ledger_url
from service.optuna_import import Wishes, translate
from service.optuna_source import opened_study, without_secrets
from service.store.database import Database
from service.store.imports import insert_imported


def import_study(database: Database, where: str, name: str, wishes: Wishes) -> dict[str, Any]:
    """Read an Optuna study and add it to the ledger.

    Returns:
        `id` of the new study, `n_trials`, and `notes` on what is not as it was.

    Raises:
        InvalidInputError: It cannot be read or does not fit; nothing was written.
        StoreUnavailableError: Postgres does not answer.
    """
    with opened_study(where, name) as study, database.transaction() as connection:
        imported = translate(study, wishes, current_catalog(connection), without_secrets(where))
        environment = {"tangent": metadata.version("tangent"), "python": platform.python_version()}
        study_id = insert_imported(connection, imported, environment)
    return {"id": study_id, "n_trials": len(imported.trials), "notes": list(imported.notes)}


def main(words: Sequence[str]) -> int:
    """Import one study; prints the answer as JSON, or one sentence on standard error and 1."""
    parser = argparse.ArgumentParser(prog="python -m service.importing")
    parser.add_argument("where")
    parser.add_argument("study")
    parser.add_argument("--name")
    parser.add_argument("--workload")
    parser.add_argument("--optimizer")
    parser.add_argument("--endpoint", help=" | ".join(ENDPOINTS))
    parser.add_argument("--floor", type=float, default=0.0)
    given = vars(parser.parse_args(words))
    where, study = given.pop("where"), given.pop("study")
    try:
        database = Database(ledger_url(load_settings(), "service"), application_name="tangent-import", pool_size=1)
        try:
            answer = import_study(database, where, study, Wishes(**given))
        finally:
            database.close()
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
