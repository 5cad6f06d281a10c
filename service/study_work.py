"""One study in the coordinator's hands: what it knows of it, and one step forward."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from service.catalogs import catalog_of
from service.domain.plan import CellPlan, CellState, plan_cell
from service.domain.seeds import training_seed
from service.domain.study import Study
from service.domain.trial import Params, Phase, StudyId, TrialRecord, TrialState
from service.search import CellSearch, sampler_record, start_search
from service.store import studies, trials
from service.store.database import Connection
from service.store.studies import CellRow
from service.store.trials import NewTrial

log = logging.getLogger("tangent.coordinator")

_PHASE_RANK = {Phase.SEARCH: 0, Phase.SELECT: 1, Phase.CONFIRM: 2}


@dataclass
class Cell:
    """A cell's row, its trials by `number`, and its search."""

    row: CellRow
    search: CellSearch
    records: dict[int, TrialRecord] = field(default_factory=dict)
    is_dirty: bool = True

    def take(self, record: TrialRecord) -> None:
        """Note a trial; a finished search trial is told to the search."""
        self.records[record.number] = record
        self.is_dirty = True
        if record.phase is Phase.SEARCH and record.state.is_finished:
            self.search.tell(record)

    def params_of(self, config: int) -> Params:
        """Parameters of the search trial with that `cell_number`."""
        return next(t.params for t in self.records.values() if t.phase is Phase.SEARCH and t.cell_number == config)


class StudyWork:
    """A study and all its cells, in memory while this coordinator holds the study's lock.

    Not thread-safe. Where `advance` raises, the object no longer agrees with the ledger and must be loaded anew.
    """

    def __init__(self, study_id: StudyId, study: Study, cells: Iterable[Cell]) -> None:
        self.study_id, self.study = study_id, study
        self.is_ended = False
        self._cells = {cell.row.id: cell for cell in cells}

    @classmethod
    def load(cls, connection: Connection, study_id: StudyId) -> StudyWork:
        """Read the study from the ledger, under its lock."""
        row = studies.get_study(connection, study_id)
        if row is None:
            raise LookupError(f"study {study_id} is not in the ledger")
        study = row.study
        chance = catalog_of(row).workloads[study.workload].chance_level
        studies.record_environment(connection, study_id, {"search": sampler_record(study)})
        cells = [
            Cell(cell, start_search(study, study.arm(cell.arm), cell.replicate, chance))
            for cell in studies.cells_of(connection, study_id)
        ]
        work = cls(study_id, study, cells)
        for trial in trials.cell_trials(connection, study_id):
            work._cells[trial.cell_id].take(trial.record)
        return work

    def advance(self, connection: Connection) -> int:
        """Take finished trials into account and add what comes next, in the caller's transaction.

        Returns:
            How many trials were added. `is_ended` is set where the study ended.
        """
        finished = trials.cell_trials(connection, self.study_id, only_untold=True)
        for trial in finished:
            self._cells[trial.cell_id].take(trial.record)
        if finished:
            trials.mark_told(connection, [trial.trial_id for trial in finished])
        dirty = [cell for cell in self._cells.values() if cell.is_dirty]
        plans = {cell.row.id: plan_cell(self.study, list(cell.records.values())) for cell in dirty}
        new = [trial for cell in dirty for trial in self._new_trials(cell, plans[cell.row.id])]
        self._insert(connection, new)
        self._move_cells(connection, dirty, plans)
        self._end_if_done(connection)
        return 0 if self.is_ended else len(new)

    def _new_trials(self, cell: Cell, plan: CellPlan) -> list[NewTrial]:
        first = cell.row.next_cell_number
        optimizer = self.study.arm(cell.row.arm).optimizer
        new = []
        for number in range(first, first + plan.n_suggestions):
            params = cell.search.suggest(number)
            new.append(self._trial(cell, Phase.SEARCH, number, number, 0, number, params, optimizer))
        phase = Phase.SELECT if plan.state is CellState.SELECT else Phase.CONFIRM
        for number, rerun in enumerate(plan.reruns, start=first + plan.n_suggestions):
            params = dict(cell.params_of(rerun.config))
            seed = rerun.seed_index
            new.append(self._trial(cell, phase, number, rerun.config, seed, seed, params, optimizer))
        return new

    def _trial(
        self,
        cell: Cell,
        phase: Phase,
        cell_number: int,
        config: int,
        seed_index: int,
        bank_index: int,
        params: Params,
        optimizer: str,
    ) -> NewTrial:
        rank = ((cell.row.replicate << 3) + _PHASE_RANK[phase] << 21) + cell_number
        return NewTrial(
            cell_id=cell.row.id,
            cell_number=cell_number,
            phase=phase,
            config=config,
            seed_index=seed_index,
            seed=training_seed(self.study.seed, cell.row.replicate, phase, bank_index),
            optimizer=optimizer,
            params=params,
            sort_key=(rank << 6) + cell.row.position,
        )

    def _insert(self, connection: Connection, new: list[NewTrial]) -> None:
        if not new:
            return
        new.sort(key=lambda trial: trial.sort_key)
        first = trials.insert_trials(connection, self.study_id, new)
        if first is None:  # cancelled in the same moment
            self.is_ended = True
            return
        for number, trial in enumerate(new, start=first):
            cell = self._cells[trial.cell_id]
            cell.records[number] = _waiting_record(cell.row, number, trial)
            cell.row = replace(cell.row, next_cell_number=max(cell.row.next_cell_number, trial.cell_number + 1))

    def _move_cells(self, connection: Connection, dirty: list[Cell], plans: dict[int, CellPlan]) -> None:
        if self.is_ended:
            return
        changed = []
        for cell in dirty:
            plan = plans[cell.row.id]
            moved = replace(cell.row, state=plan.state.value, winner=plan.winner, reason=plan.reason)
            if (moved.state, moved.winner) != (cell.row.state, cell.row.winner):
                data = {"arm": moved.arm, "replicate": moved.replicate, "state": moved.state, "winner": moved.winner}
                studies.add_event(connection, self.study_id, "cell", data)
            cell.row, cell.is_dirty = moved, False
            changed.append(moved)
        studies.update_cells(connection, changed)

    def _end_if_done(self, connection: Connection) -> None:
        rows = [cell.row for cell in self._cells.values()]
        failed = next((row for row in rows if row.state == CellState.FAILED), None)
        if failed is not None:
            where = f"arm {failed.arm}, replicate {failed.replicate}"
            self.is_ended = studies.end_study(connection, self.study_id, "FAILED", f"{where}: {failed.reason}")
        elif all(row.state == CellState.FINISHED for row in rows):
            self.is_ended = studies.end_study(connection, self.study_id, "FINISHED")
        if self.is_ended:
            log.info("study %s ended", self.study_id)


def _waiting_record(row: CellRow, number: int, trial: NewTrial) -> TrialRecord:
    return TrialRecord(
        number=number,
        arm=row.arm,
        replicate=row.replicate,
        phase=trial.phase,
        cell_number=trial.cell_number,
        config=trial.config,
        seed_index=trial.seed_index,
        seed=trial.seed,
        state=TrialState.WAITING,
        params=trial.params,
    )
