"""What pages may cost at 4 arms x 10,000 finished trials, and by how much more than at 100."""

import pytest
from sqlalchemy import text

from service.reports import store_report
from tests.browser.filling import fill
from tests.browser.measuring import Visit, resident_bytes, visit
from tests.browser.shots import see_all

KB, MB = 1000, 1_000_000
DRAWN = "document.querySelector('#chart-{}[data-drawn=yes]')"
TABLE = "document.querySelectorAll('#trials tbody tr').length"
SORTED = "filter=state%3Dcomplete+lr%3C0.01&sort=-value"


@pytest.fixture(scope="module")
def studies(module_ledger) -> dict[tuple[str, int], int]:
    """Two studies of 10,000 trials an arm, two of 100, and one of 100,000 trials: ("large", 0) to ("table", 0)."""
    database = module_ledger[1]
    found = {}
    for name, n in (("large", 10_000), ("small", 100)):
        for seed in (0, 1):
            with database.transaction() as connection:
                found[name, seed] = fill(connection, n, name=f"{name}-{seed}", seed=seed)
    for study_id in found.values():
        store_report(database, study_id)
    with database.transaction() as connection:
        found["table", 0] = fill(connection, 25_000, name="table", is_measured=False)
    with database.transaction() as connection:
        connection.execute(text("ANALYZE"))
    return found


@pytest.fixture(scope="module")
def opened(browser, server, session, studies):
    """A page's first and second visit in a browser of its own; each is made once."""
    kept: dict[tuple[str, str], tuple[Visit, Visit]] = {}

    def both(path: str, is_ready: str) -> tuple[Visit, Visit]:
        if (path, is_ready) not in kept:
            with browser.new_context(
                base_url=server.address, storage_state=session, viewport={"width": 1440, "height": 900}
            ) as context:
                found = [visit(context, path, is_ready) for _ in range(2)]
            assert None not in found, f"{path} was not ready in time"
            kept[path, is_ready] = tuple(found)
        return kept[path, is_ready]

    return both


def compare(studies, size):
    return f"/compare?ids={studies[size, 0]},{studies[size, 1]}", "document.querySelector('main .verdict')"


def overview(studies, size):
    return f"/studies/{studies[size, 0]}", DRAWN.format("effects")


def curves(studies, size):
    return f"/studies/{studies[size, 0]}#curves", DRAWN.format("curves")


def trials(studies, size):
    return f"/studies/{studies[size, 0]}?{SORTED}#trials", f"{TABLE} > 0"


@pytest.mark.parametrize("place", [compare, overview])
def test_comparing_arms(opened, studies, place):
    cold, warm = opened(*place(studies, "large"))
    assert cold.n_bytes <= 450 * KB, cold
    assert warm.n_bytes <= 40 * KB, warm
    for found in (cold, warm):
        assert found.heap_bytes <= 15 * MB, found
        assert found.n_nodes <= 3000, found


def test_curves(opened, studies):
    cold, warm = opened(*curves(studies, "large"))
    assert cold.n_bytes - cold.library_bytes <= 200 * KB, cold
    assert warm.n_bytes <= 200 * KB, warm
    assert cold.n_elements <= 3000, cold  # a link to a section brings those above it and the trials, too


def test_the_list_of_studies(opened, studies):
    cold, _ = opened("/studies", "document.querySelector('main table')")
    assert cold.n_bytes - cold.library_bytes <= 50 * KB, cold
    assert cold.n_nodes <= 3000, cold


def test_a_page_of_100000_trials(opened, studies):
    cold, _ = opened(*trials(studies, "table"))
    assert 0 < cold.part_bytes <= 50 * KB, cold


@pytest.mark.parametrize("place", [compare, overview, curves, trials])
def test_a_hundred_times_the_trials_are_at_most_three_tenths_more_bytes(opened, studies, place):
    small, large = opened(*place(studies, "small"))[0], opened(*place(studies, "large"))[0]
    assert large.n_bytes <= 1.3 * small.n_bytes, (small, large)
    assert large.n_nodes <= 1.3 * small.n_nodes, (small, large)


def test_every_section_of_the_largest_study_and_the_server_stay_small(signed_in, server, studies):
    page = signed_in(f"/studies/{studies['large', 0]}")
    see_all(page)
    assert page.evaluate("document.querySelectorAll('*').length") <= 3000
    assert page.locator("figure[data-drawn=yes]").count() >= 15
    assert resident_bytes(server.process.pid) <= 250 * MB
