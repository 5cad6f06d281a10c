"""What an optimizer keeps: its state in every precision, and that state saved, loaded, copied and pickled."""

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .bench import Bench, Make
from .notes import MEASURED, Notes, name_of, tolerance

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
State = dict[str, Any]


def states(make: Make, notes: Notes, settings: Sequence[dict[str, Any]], methods: Sequence[str]) -> None:
    """State, groups and the methods' answers after some steps, by precision and arguments, fresh ones included."""
    for dtype in DTYPES:
        notes.floor = tolerance([dtype])
        for arguments in settings:
            label = f"{name_of(dtype)}{''.join(f' {key}={value!r}' for key, value in arguments.items())}"
            bench = Bench(make, arguments, dtype=dtype, methods=methods)
            notes.trial(f"{label}, no step", bench.told_in_full, MEASURED)
            notes.trial(f"{label}, 4 steps", lambda bench=bench: bench.steps(4).told_in_full(), MEASURED)  # type: ignore[misc]
    notes.floor = 0.0
    notes.trial("a large tensor among small ones", lambda: _beside_large(make), MEASURED)
    notes.trial("64 bit by default", lambda: _with_wide_default(make))
    for label, arguments in (("no device", {}), *((f"no device {entry!r}", entry) for entry in settings)):
        notes.trial(label, lambda label=label, arguments=arguments: _without_device(make, notes, label, arguments))  # type: ignore[misc]


def _beside_large(make: Make) -> Any:
    """Weights after two steps, of the large one a corner: optimizers may cut long lists of tensors by their size."""
    bench = Bench(make, shapes=((3, 4), (600, 500), (3,), (4, 3))).steps(2)
    return [param.detach()[:4] if param.ndim == 1 else param.detach()[:4, :4] for param in bench.params]


def _with_wide_default(make: Make) -> Any:
    """The state of 32-bit weights where new tensors have 64 bit unless a dtype is named."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return [Bench(make, dtype=dtype).steps(2).optimizer.state_dict()["state"] for dtype in DTYPES[:2]]
    finally:
        torch.set_default_dtype(before)


def _without_device(make: Make, notes: Notes, label: str, arguments: dict[str, Any]) -> Any:
    """The state of weights on another device than the CPU: the one that every machine has holds no values.

    Where it lies there tells where it would on a GPU; and a step that waits for a value fails.
    """
    params = [torch.ones(shape, device="meta", requires_grad=True) for shape in ((3, 4), (3,))]
    optimizer = make(params, **arguments)
    for param in params:
        param.grad = torch.ones_like(param, requires_grad=False)
    notes.trial(f"{label}, step", optimizer.step)
    return optimizer.state_dict()["state"]


def loading(make: Make, notes: Notes) -> None:
    """A state, as it is and as other programs write it, loaded into a fresh optimizer and into one in mid-run."""
    for source in DTYPES:
        for target in DTYPES:
            _loaded(make, notes, f"{name_of(source)} into {name_of(target)}", lambda state: state, (source, target))
    for label, change in _CHANGES.items():
        for n_steps in (0, 2):
            _loaded(make, notes, f"{label} after {n_steps} steps", change, n_steps=n_steps)
        _loaded(make, notes, f"{label} of two groups", change, n_groups=2)
    for name in Bench(make).optimizer.param_groups[0]:
        _loaded(make, notes, f"without {name}", lambda state, name=name: _without(state, name))  # type: ignore[misc]
    for before, after in ((1, 2), (2, 1)):
        state = Bench(make, n_groups=before).steps(2).optimizer.state_dict()
        bench = Bench(make, n_groups=after)
        label = f"{before} groups into {after}"
        notes.trial(label, lambda bench=bench, state=state: bench.optimizer.load_state_dict(state))  # type: ignore[misc]
        notes.trial(f"{label}, then", lambda bench=bench: bench.steps(2).told())  # type: ignore[misc]
    _hooks(make, notes)


def copies(make: Make, notes: Notes) -> None:
    """Deep copies and pickles, which go on as the original does; and pickles that lack an entry of later versions."""
    original = Bench(make).steps(2)
    original.optimizer.param_groups[0]["own"] = 1
    made: dict[str, Callable[[], Bench]] = {
        "deepcopy": lambda: copy.deepcopy(original),
        "pickle": lambda: _repickled(original),
    }
    for label, act in made.items():
        notes.trial(f"{label}, then", lambda act=act: act().steps(2).told_in_full())  # type: ignore[misc]
    for name in [*original.optimizer.param_groups[0], "state", "param_groups", "defaults"]:
        notes.trial(f"unpickled without {name}", lambda name=name: _older(original, name).steps(2).told_in_full())  # type: ignore[misc]
        notes.trial(
            f"unpickled without {name} and its default",
            lambda name=name: _older(original, name, has_default=False).steps(2).told_in_full(),  # type: ignore[misc]
        )


def _repickled(bench: Bench) -> Bench:
    """A bench whose optimizer and parameters went through one pickle."""
    kept = copy.copy(bench)
    kept.optimizer, kept.params = pickle.loads(pickle.dumps((bench.optimizer, bench.params)))  # noqa: S301 — our own
    return kept


def _older(bench: Bench, name: str, *, has_default: bool = True) -> Bench:
    """A bench whose optimizer comes from a pickle without an entry of the groups or of the optimizer."""
    kept = copy.copy(bench)
    kept.params, state = copy.deepcopy((bench.params, bench.optimizer.__getstate__()))
    state.pop(name, None)
    if not has_default:
        state.get("defaults", {}).pop(name, None)
    for group in state.get("param_groups", []):
        if name != "params":
            group.pop(name, None)
    kind: Any = type(bench.optimizer)
    kept.optimizer = kind.__new__(kind)
    kept.optimizer.__setstate__(state)
    return kept


def _loaded(
    make: Make,
    notes: Notes,
    label: str,
    change: Callable[[State], State],
    dtypes: tuple[torch.dtype, torch.dtype] = (torch.float64, torch.float64),
    n_steps: int = 0,
    n_groups: int = 1,
) -> None:
    given = change(Bench(make, dtype=dtypes[0], n_groups=n_groups).steps(3).optimizer.state_dict())
    given = copy.deepcopy(given)
    before = Notes()
    before.note("given", given)
    bench = Bench(make, dtype=dtypes[1], n_groups=n_groups).steps(n_steps)
    label, notes.floor = f"loading {label}", tolerance(dtypes)
    notes.trial(label, lambda: bench.optimizer.load_state_dict(given))
    notes.trial(f"{label} gives", bench.told_in_full)
    notes.note(f"{label} shares memory", bool(_memory(given) & _memory(bench.optimizer.state_dict())))
    notes.trial(f"{label}, then", lambda: bench.steps(2).weights)
    after = Notes()
    after.note("given", given)
    notes.note(f"{label} changes what it is given", repr(before.leaves) != repr(after.leaves))
    notes.floor = 0.0


def _hooks(make: Make, notes: Notes) -> None:
    """Hooks of state_dict, load_state_dict and step: their order, what they are given, and that they are heard."""
    bench, log = Bench(make), list[str]()
    optimizer = bench.optimizer

    def saw(name: str, *given: Any, **_: Any) -> None:
        state = next((entry for entry in given if isinstance(entry, dict) and "state" in entry), None)
        own: State = next(iter(optimizer.state.values()), {})
        kinds = {key: str(getattr(value, "dtype", type(value))) for key, value in own.items()}
        log.append(f"{name}: {sorted(map(str, state['state'].get(0, {}))) if state else (len(optimizer.state), kinds)}")

    def slower(_: Any, state: State) -> State:
        saw("before loading", state)
        return {**state, "param_groups": [{**group, "lr": 0.5} for group in state["param_groups"]]}

    optimizer.register_step_pre_hook(lambda *given: saw("before a step", *given))
    optimizer.register_step_post_hook(lambda *given: saw("after a step", *given))
    optimizer.register_state_dict_pre_hook(lambda *given: saw("before saving", *given))
    optimizer.register_state_dict_post_hook(lambda *given: saw("after saving", *given))
    optimizer.register_load_state_dict_pre_hook(slower)
    optimizer.register_load_state_dict_post_hook(lambda *given: saw("after loading", *given))
    older = _renamed(Bench(make).steps(2).optimizer.state_dict())
    notes.trial("steps with hooks", lambda: bench.steps(2).told())
    notes.trial("loading with hooks", lambda: optimizer.load_state_dict(older))
    notes.trial("steps after loading with hooks", lambda: bench.steps(2).told())
    notes.note("what hooks saw", log)
    hooks = {name: len(value) for name, value in vars(optimizer).items() if name.endswith("_hooks")}
    notes.note("hooks that stay", hooks)


def _memory(state: State) -> set[int]:
    """Addresses of the state's tensors that are not empty."""
    entries = (value for entry in state.get("state", {}).values() for value in entry.values())
    return {value.data_ptr() for value in entries if isinstance(value, Tensor) and value.numel()}


def _each(state: State, act: Callable[[str, Any], tuple[str, Any]]) -> State:
    """A state in which `act` has changed every entry."""
    entries = {key: dict(act(name, value) for name, value in entry.items()) for key, entry in state["state"].items()}
    return {**state, "state": entries}


def _without(state: State, name: str) -> State:
    groups = [{key: value for key, value in group.items() if key != name} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def _renamed(state: State) -> State:
    """As the authors of some optimizers name and type their state."""
    return _each(state, lambda name, value: (name.removesuffix("_buffer"), value))


def _numbers(state: State) -> State:
    """Counts as Python's numbers."""
    return _each(state, lambda name, value: (name, int(value) if _is_count(value) else value))


def _is_count(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and bool(value == value.round()) and bool(value > 0)


def _wider(state: State) -> State:
    return _each(state, lambda name, value: (name, value[None] if isinstance(value, Tensor) else value))


def _saved(state: State) -> State:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded: State = torch.load(buffer, weights_only=True)
    return loaded


_CHANGES: dict[str, Callable[[State], State]] = {
    "saved": _saved,
    "counts as numbers": _numbers,
    "counts in 64 bit": lambda state: _each(state, lambda n, v: (n, v.double() if _is_count(v) else v)),
    "older names": _renamed,
    "one more dimension": _wider,
    "tensors of another layout": lambda state: _each(
        state, lambda n, v: (n, v.mT.contiguous().mT if v.ndim > 1 else v)
    ),
    "None for tensors": lambda state: _each(state, lambda n, _: (n, None)),
    "an entry of its own": lambda state: _each(state, lambda n, v: (n, v)) | {"mine": 1},
    "no state": lambda state: {**state, "state": {}},
    "the state of one parameter": lambda state: {**state, "state": {0: state["state"].get(0, {})}},
    "another lr": lambda state: {**state, "param_groups": [{**g, "lr": 0.5} for g in state["param_groups"]]},
    "a key of its own": lambda state: {**state, "param_groups": [{**g, "mine": 2} for g in state["param_groups"]]},
    "no groups": lambda state: {**state, "param_groups": []},
    "fewer parameters": lambda state: {
        **state,
        "param_groups": [{**g, "params": g["params"][:-1]} for g in state["param_groups"]],
    },
    "other numbers of parameters": lambda state: {
        "state": {10 + key: entry for key, entry in state["state"].items()},
        "param_groups": [{**g, "params": [10 + key for key in g["params"]]} for g in state["param_groups"]],
    },
    "nothing": lambda _: {},
}
