"""What the store does for slots that Postgres left alone, and for studies that share their random numbers."""

from datetime import timedelta

from service import studies as use_cases
from service.store.database import Database
from service.store.leases import expired_trials
from tests.integration.store.support import GONE, add_study, claim, make_study

_DAY = timedelta(days=1)


def test_lease_that_ended_while_postgres_was_away_is_not_taken_at_once(ledger: Database) -> None:
    add_study(ledger)
    with ledger.transaction() as connection:
        claimed = claim(connection, lease=GONE)
    assert claimed is not None
    with ledger.transaction() as connection:
        assert expired_trials(connection, grace=_DAY) == []
        assert expired_trials(connection) == [(claimed.trial_id, claimed.attempt)]


def test_study_that_shares_its_seed_with_another_is_told_so(ledger: Database) -> None:
    first = add_study(ledger, seed=7)
    with ledger.transaction() as connection:
        warned = use_cases.validate(connection, make_study(seed=7, name="another").to_dict()).warnings
        quiet = use_cases.validate(connection, make_study(seed=8, name="another").to_dict()).warnings
    assert any(f"seed 7 was used on this workload by study {first} too" in warning for warning in warned)
    assert not any("was used on this workload" in warning for warning in quiet)


def test_study_that_repeats_another_is_told_so(ledger: Database) -> None:
    document = make_study(seed=7).to_dict()
    with ledger.transaction() as connection:
        first, _ = use_cases.submit(connection, document)
        warned = use_cases.validate(connection, document).warnings
    assert any(f"study {first} is the same file" in warning for warning in warned)
