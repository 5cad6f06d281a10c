"""One study in the coordinator's hands: what it knows of it, and one step forward."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.catalogs import catalog_of
from service.domain.looks import take_look
from service.domain.plan import CellPlan, CellState, Tally, plan_cell, plan_search
from service.domain.report_input import ReportInput
from service.domain.report_registration import Registration
from service.domain.seeds import training_seed
from service.domain.study import Study
from service.domain.trial import Params, Phase, StudyId, TrialRecord, TrialState
from service.search import CellPruner, CellSearch, Rungs, sampler_record, start_search
from service.store import rungs, studies, trials
from service.store.control import OutdatedError
from service.store.database import Connection
from service.store.rungs import Decision, Rung
from service.store.studies import CellRow, StudyRow
from service.store.trials import NewTrial

_PHASE_RANK = {Phase.SEARCH: 0, Phase.SELECT: 1, Phase.CONFIRM: 2}


@dataclass
class Cell:
    """A cell's row as it is now and as it was last written, its trials by `number`, its search and its pruner."""

    row: CellRow
    search: CellSearch
    pruner: CellPruner | None = None
    records: dict[int, TrialRecord] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    is_dirty: bool = True
    stored: CellRow = field(init=False)

    def __post_init__(self) -> None:
        self.stored = self.row

    def take(self, record: TrialRecord, rungs: Rungs) -> None:
        """Note a trial, which may be known; a finished search trial is told to the search."""
        self.note(record)
        self.is_dirty = True
        if self.pruner is not None and rungs:
            self.pruner.report(record, rungs)
        if record.phase is Phase.SEARCH and record.state.is_finished:
            self.search.tell(record, rungs)

    def note(self, record: TrialRecord) -> None:
        """Keep a trial as it is now."""
        if (before := self.records.get(record.number)) is not None:
            self.tally.add(before, -1)
        self.records[record.number] = record
        self.tally.add(record)

    def plan(self, study: Study) -> CellPlan:
        """What the cell does next; all its trials are looked at only where counts do not tell."""
        return plan_search(study, self.tally) or plan_cell(study, list(self.records.values()))

    def decide(self, rungs: Sequence[Rung]) -> Decision:
        """Whether a running trial goes on, from what it has measured since the last decision, by epoch."""
        if self.pruner is None:
            raise LookupError(f"cell {self.row.id} has no pruner")
        record = self.records[rungs[0].number]
        self.pruner.report(replace(record, state=TrialState.RUNNING), {rung.epoch: rung.value for rung in rungs})
        for rung in rungs:
            if self.pruner.decide(record.cell_number, rung.epoch):
                return Decision(rung.epoch, prune=True, value=rung.value)
        return Decision(rungs[-1].epoch, prune=False, value=rungs[-1].value)

    def params_of(self, config: int) -> Params:
        """Parameters of the search trial with that `cell_number`."""
        return next(t.params for t in self.records.values() if t.phase is Phase.SEARCH and t.cell_number == config)


class StudyWork:
    """A study and all its cells, in memory while this coordinator holds the study's lock.

    Not thread-safe. Where `advance` raises, the object no longer agrees with the ledger and must be loaded anew.

    Attributes:
        revision: Up to this one nothing came that makes the object outdated (see `service.store.control`).
    """

    def __init__(self, row: StudyRow, cells: Iterable[Cell]) -> None:
        self.study_id, self.study = row.id, row.study
        self._row = row
        self.ending: tuple[str, str | None] | None = None
        self.revision = 0
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
        is_pruning = study.search.pruner != "none"
        cells = [
            Cell(
                cell,
                start_search(study, study.arm(cell.arm), cell.replicate, chance),
                CellPruner(study, cell.replicate) if is_pruning else None,
            )
            for cell in studies.cells_of(connection, study_id)
        ]
        work = cls(row, cells)
        work.revision = row.revision
        known = rungs.rungs_of(connection, study_id) if is_pruning else {}
        for trial in trials.cell_trials(connection, study_id):
            work._cells[trial.cell_id].take(trial.record, known.get(trial.record.number, {}))
        return work

    def advance(self, connection: Connection) -> int:
        """Take finished trials into account and add what comes next, in the caller's transaction.

        `ending` is set where the study has to end. That is another transaction's work, because `studies.end_study`
        locks trials first and this one holds the study's row; a coordinator killed between the two finds it again.

        Returns:
            How many trials were added; 0 where the study was ended by someone else in this moment.

        Raises:
            OutdatedError: Somebody changed the study meanwhile; nothing may be committed.
        """
        self._take_finished(connection)
        if self._is_pruning:
            self._decide(connection)
        dirty = [cell for cell in self._cells.values() if cell.is_dirty]
        plans = {cell.row.id: cell.plan(self.study) for cell in dirty}
        self.ending = self._ending_of(plans)
        if self.ending is not None and self.ending[0] == "FINISHED" and self._is_looked_at:
            self.ending = self._look(connection)
            if self.ending is None:
                self._move_cells(connection, dirty, plans)
                self._reload(connection)
                return self.advance(connection)
        new: list[NewTrial] = []
        if self.ending is None:
            new = [trial for cell in dirty for trial in self._new_trials(cell, plans[cell.row.id])]
            if not self._insert(connection, new):
                return 0
        self._move_cells(connection, dirty, plans)
        return len(new)

    @property
    def _is_looked_at(self) -> bool:
        """True for a sequential study until replicates are added that its rule has not planned."""
        return self.study.sequential is not None and not self._row.amendments

    @property
    def _is_pruning(self) -> bool:
        return self.study.search.pruner != "none"

    def _take_finished(self, connection: Connection) -> None:
        finished = trials.take_finished(connection, self.study_id)
        numbers = [trial.record.number for trial in finished if trial.record.phase is Phase.SEARCH]
        known = rungs.rungs_of(connection, self.study_id, numbers) if self._is_pruning and numbers else {}
        for trial in finished:
            self._cells[trial.cell_id].take(trial.record, known.get(trial.record.number, {}))

    def _decide(self, connection: Connection) -> None:
        """Let running trials go on or end, by what they have measured since the last look."""
        undecided = rungs.undecided_rungs(connection, self.study_id)
        for trial_id, group in itertools.groupby(undecided, key=lambda rung: rung.trial_id):
            listed = list(group)
            rungs.save_decision(connection, trial_id, self._cells[listed[0].cell_id].decide(listed))

    def _look(self, connection: Connection) -> tuple[str, str | None] | None:
        """Look at a sequential study whose replicates are complete: how it ends, or None where more were added."""
        taken = [look for look in self._row.looks if look["replicates"] == self.study.replicates]
        records = [record for cell in self._cells.values() for record in cell.records.values()]
        looks = self._row.planned_looks
        rule = Registration(planned_looks=looks)
        source = ReportInput.from_study(self.study, records, catalog_of(self._row), registration=rule, is_finished=True)
        look = taken[0] if taken else take_look(source)
        if not taken:
            studies.add_look(connection, self.study_id, look)
        n = int(look["replicates"])
        if look["is_decided"] or n >= looks[-1]:
            word = "decided" if look["is_decided"] else "not decided"
            return "FINISHED", f"{word} after {n} of {looks[-1]} replicates"
        studies.add_cells(connection, self.study_id, n, looks[looks.index(n) + 1])
        return None

    def _reload(self, connection: Connection) -> None:
        fresh = StudyWork.load(connection, self.study_id)
        self._row, self.study, self._cells = fresh._row, fresh.study, fresh._cells

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

    def _insert(self, connection: Connection, new: list[NewTrial]) -> bool:
        """Add trials; False where the study was cancelled in this moment."""
        if not new:
            return True
        new.sort(key=lambda trial: trial.sort_key)
        first = trials.insert_trials(connection, self.study_id, new)
        if first is None:
            return False
        for number, trial in enumerate(new, start=first):
            cell = self._cells[trial.cell_id]
            cell.note(_waiting_record(cell.row, number, trial))
            cell.row = replace(cell.row, next_cell_number=max(cell.row.next_cell_number, trial.cell_number + 1))
        return True

    def _move_cells(self, connection: Connection, dirty: list[Cell], plans: dict[int, CellPlan]) -> None:
        changed = []
        for cell in dirty:
            plan = plans[cell.row.id]
            moved = replace(cell.row, state=plan.state.value, winner=plan.winner, reason=plan.reason)
            if (moved.state, moved.winner) != (cell.row.state, cell.row.winner):
                data = {"arm": moved.arm, "replicate": moved.replicate, "state": moved.state, "winner": moved.winner}
                studies.add_event(connection, self.study_id, "cell", data)
            cell.row = moved
            if moved != cell.stored:
                changed.append(moved)
            cell.stored, cell.is_dirty = moved, False
        if not studies.update_cells(connection, self.study_id, changed, self.revision):
            raise OutdatedError(f"study {self.study_id} was changed after revision {self.revision}")

    def _ending_of(self, plans: Mapping[int, CellPlan]) -> tuple[str, str | None] | None:
        """FAILED with the first cell that failed, FINISHED with the last that finished, or None."""
        for cell_id, plan in plans.items():
            if plan.state is CellState.FAILED:
                row = self._cells[cell_id].row
                return "FAILED", f"arm {row.arm}, replicate {row.replicate}: {plan.reason}"
        states = {i: plans[i].state if i in plans else cell.row.state for i, cell in self._cells.items()}
        return ("FINISHED", None) if all(state == CellState.FINISHED for state in states.values()) else None


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
