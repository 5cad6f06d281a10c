"""Two workers of one slot each on one queue."""

from service.queue import announce_work, make_app
from tests.integration.workers.support import SLOW, add_study, trial_of, wait_for_end, wait_until


def test_busy_worker_leaves_hints_to_the_idle_one(ledger, start_worker, redis):
    for worker in (start_worker(), start_worker()):
        worker.wait_for_line("serving cpu with 1 slots")
    app = make_app(redis.url)
    slow = add_study(ledger, workload=SLOW, options={"epochs": 1, "step_s": 60})
    announce_work(app, "cpu", 1)
    wait_until(lambda: trial_of(ledger, slow)["state"] == "RUNNING")
    for _ in range(6):
        quick = add_study(ledger)
        announce_work(app, "cpu", 1)
        trial = wait_for_end(ledger, quick)
        assert trial["worker_id"] != trial_of(ledger, slow)["worker_id"]
