"""The ledger in Postgres, and the only importer of SQLAlchemy.

What the store promises:
- Every function takes a `Connection` inside a transaction that the caller opens and commits; none commits itself,
  and each leaves the ledger consistent: counters equal counts, one event per change, numbers without gaps.
- A claim hands a trial to one slot only, under an attempt number of its own. Every later write of that slot names
  trial and attempt, and is refused (returns False or None, changes nothing) once the trial is not RUNNING under it.
- All lease times use Postgres's clock; no function reads the caller's.
- Locks are taken in one order, trial rows by id, then the study's row, so that no two transactions deadlock that change
  one trial or one study each. So a transaction calls at most one function that changes a trial's state or ends a
  study, and calls it before any event; `claim_next_trial` and `end_study` say what else they ask of their caller.
- `StoreUnavailableError` is raised where Postgres does not answer; the transaction then did not happen, or its
  commit is unknown, in which case repeating the call is harmless because writes are fenced.
"""
