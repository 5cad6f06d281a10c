"""A step that fails, or tensors that were changed behind the optimizer's back, never lead the native step astray."""

import ctypes

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, base, native, repetition
from tests.unit.adamp.repeated import give_gradients, repeats

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")


def test_a_step_that_failed_midway_is_not_followed_by_one_that_repeats_its_forerunner():
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in ((50, 40), (5, 4), (5, 4))]
    subject = AdamP([{"params": params[:2]}, {"params": params[2:]}], lr=0.1)
    for seed in range(2):
        give_gradients(params, seed)
        assert repeats(subject) == (seed == 1)
    params[1].grad = None  # the first group's table is built anew
    lost = subject.state[params[2]].pop("exp_avg_sq")
    with pytest.raises(KeyError, match="exp_avg_sq"):
        subject.step()
    subject.state[params[2]]["exp_avg_sq"] = lost
    give_gradients(params, 2)
    assert not repeats(subject)
    assert repeats(subject)


def test_a_table_whose_building_failed_is_built_again(monkeypatch):
    param = torch.nn.Parameter(torch.ones(6, 4))
    subject = AdamP([param], lr=0.1)
    give_gradients([param], 0)
    subject.step()
    (plan,) = subject._plans.values()
    kept = param.data
    param.data = kept.clone()
    with monkeypatch.context() as broken:
        broken.setattr(native, "_describe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            subject.step()
    param.data = kept
    before = param.detach().clone()
    subject.step()
    assert plan is subject._plans[(0, "cpu", None)]
    assert not torch.equal(param, before)


def in_bfloat16(value):
    value.data = value.to(torch.bfloat16)


def in_float64(value):
    value.data = value.double()


def in_part(value):
    value.data = value[:2].clone()


def transposed(value):
    value.data = value.t().contiguous().t()


@pytest.fixture(params=[True, False], ids=["recognised", "never recognised"])
def told(request, monkeypatch):
    """With False, as on a torch without DLPack's exchange table."""
    if not request.param:
        monkeypatch.setattr(base, "interpreter", lambda: None)


def stepped_twice(fused, optimizer=AdamP, **hyper):
    param = torch.nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    subject = optimizer([param], lr=0.1, fused=fused, **hyper)
    for seed in range(2):
        give_gradients([param], seed)
        subject.step()
    return subject, param


def outcome(subject, param):
    """The weights after a step, or the error's type."""
    try:
        subject.step()
    except RuntimeError as error:
        return type(error)
    return param.detach()


def assert_same(ours, plain):
    assert type(ours) is type(plain)
    if isinstance(ours, torch.Tensor):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("change", [in_bfloat16, in_float64, in_part, transposed])
@pytest.mark.parametrize("name", ["exp_avg", "exp_avg_sq"])
def test_state_that_lies_otherwise_in_the_same_tensor_goes_the_way_of_plain_torch(change, name):
    outcomes = []
    for fused in (None, False):
        subject, param = stepped_twice(fused)
        change(subject.state[param][name])
        outcomes.append(outcome(subject, param))
    assert_same(*outcomes)


@pytest.mark.usefixtures("told")
def test_state_of_another_dtype_at_the_address_of_a_freed_tensor_goes_the_way_of_plain_torch():
    outcomes = []
    for fused in (None, False):
        subject, param = stepped_twice(fused)
        entries = subject.state[param]
        del entries["exp_avg_sq"]  # CPython gives its place to the next tensor
        entries["exp_avg_sq"] = torch.zeros(6, 4, dtype=torch.bfloat16)
        outcomes.append(outcome(subject, param))
    assert_same(*outcomes)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_a_weight_that_outgrew_its_gradient_is_refused_as_in_plain_torch(optimizer):
    subject, param = stepped_twice(None, optimizer)
    param.data = torch.ones(4000, 4)
    for entries in subject.state.values():
        entries.update({name: torch.ones(4000, 4) for name in entries if name != "step"})
    with pytest.raises(RuntimeError, match="size"):
        subject.step()


@pytest.mark.usefixtures("told")
def test_a_gradient_without_memory_is_a_gradient_of_zeros():
    ends = []
    for make in (torch._efficientzerotensor, torch.zeros):
        subject, param = stepped_twice(None)
        param.grad = make(6, 4)
        subject.step()
        ends.append(param.detach())
    torch.testing.assert_close(*ends)


FINDS = repetition.interpreter.__wrapped__


def test_torch_describes_its_tensors_as_they_are():
    has_table = hasattr(torch.Tensor, "__dlpack_c_exchange_api__")
    assert (FINDS() is not None) == has_table


@pytest.mark.parametrize("setting", [{"device": "meta"}, {"dtype": torch.float64}], ids=str)
def test_it_is_asked_whatever_new_tensors_are_by_default(setting):
    found = FINDS() is not None
    try:
        torch.set_default_device(setting.get("device"))
        torch.set_default_dtype(setting.get("dtype", torch.float32))
        assert (FINDS() is not None) == found
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("table", [12345, None, object()], ids=["address", "none", "object"])
def test_a_table_of_another_kind_is_left_alone(table, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "__dlpack_c_exchange_api__", table, raising=False)
    assert FINDS() is None


def test_an_interpreter_without_one_of_the_functions_is_left_alone(monkeypatch):
    monkeypatch.setattr(repetition, "_FUNCTIONS", (*repetition._FUNCTIONS[1:], "PyObject_NoSuchFunction"))
    assert FINDS() is None


def found_with(monkeypatch, describe):
    """What is found where the table's function is `describe`, which changes what torch's own tells."""
    true = repetition._find_describe()
    tell = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(repetition._Described))

    @tell
    def told_otherwise(tensor, told):
        answer = tell(true)(tensor, told)
        describe(told.contents)
        return answer

    monkeypatch.setattr(repetition, "_find_describe", lambda: ctypes.cast(told_otherwise, ctypes.c_void_p).value)
    return FINDS()


FIELDS = ["data", "n_dims", "code", "bits", "lanes", "device_type", "byte_offset"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_function_that_describes_otherwise_than_torch_is_not_used(field, monkeypatch):
    def lie(told):
        setattr(told, field, getattr(told, field) + 4)

    assert found_with(monkeypatch, lie) is None


@pytest.mark.parametrize("field", ["shape", "strides"])
def test_a_function_that_tells_another_shape_is_not_used(field, monkeypatch):
    kept = (ctypes.c_int64 * 2)(7, 7)
    assert found_with(monkeypatch, lambda told: setattr(told, field, kept)) is None


def test_a_function_may_tell_where_memory_begins_and_how_far_from_there_the_tensor_lies(monkeypatch):
    def move(told):
        told.data, told.byte_offset = told.data - 4, told.byte_offset + 4

    assert found_with(monkeypatch, move) is not None


def test_a_function_that_fails_is_not_used(monkeypatch):
    fails = ctypes.cast(ctypes.pythonapi.PyErr_BadArgument, ctypes.c_void_p).value
    monkeypatch.setattr(repetition, "_find_describe", lambda: fails)
    assert FINDS() is None


@pytest.mark.parametrize(("major", "is_known"), [(0, False), (1, True), (2, False)])
def test_a_table_of_another_major_version_is_left_alone(major, is_known, monkeypatch):
    table = repetition._ExchangeTable(major=major, describe=repetition._find_describe())
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    capsule = new(("PyCapsule_New", ctypes.pythonapi))(ctypes.addressof(table), b"dlpack_exchange_api", None)
    monkeypatch.setattr(torch.Tensor, "__dlpack_c_exchange_api__", capsule)
    assert (FINDS() is not None) == is_known


class Elsewhere(torch.Tensor):
    """A number that says it lies on a GPU."""

    device = property(lambda _: torch.device("cuda"))


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_a_learning_rate_on_another_device_is_read_for_weights_on_the_cpu(optimizer):
    ends = []
    for lr in (0.1, torch.tensor(0.1, dtype=torch.float64).as_subclass(Elsewhere)):
        subject, param = stepped_twice(None, optimizer)
        subject.param_groups[0]["lr"] = lr
        for seed in (2, 3):
            give_gradients([param], seed)
            subject.step()
        ends.append(param.detach())
    assert torch.equal(*ends)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("optimizer", "hyper"), [(SGDP, {}), (AdamP, {}), (SGDP, {"momentum": 0.9})], ids=str)
def test_diagnostics_follow_a_model_that_is_made_double(optimizer, hyper):
    told = []
    for fused in (None, False):
        subject, param = stepped_twice(fused, optimizer, **hyper)
        saved = subject.state_dict()
        param.data = param.double()
        subject.load_state_dict(saved)
        for _ in range(2):
            param.grad = torch.ones_like(param)
            subject.step()
        (record,) = subject.diagnostics().values()
        told.append(record)
    assert told[0].n_steps == told[1].n_steps == 4
    assert told[0].weight_norm == pytest.approx(told[1].weight_norm, rel=1e-6)
    assert told[0].layer_cos == pytest.approx(told[1].layer_cos, rel=1e-6)


@pytest.mark.usefixtures("told")
def test_sgdw_that_loads_the_state_of_sgdp_does_not_project():
    ends = []
    for fused in (None, False):
        source, _ = stepped_twice(fused, SGDP, momentum=0.9, delta=10.0, weight_decay=0.1)
        subject, param = stepped_twice(fused, SGDW, momentum=0.9)
        subject.load_state_dict(source.state_dict())
        for seed in (2, 3):
            give_gradients([param], seed)
            subject.step()
        (record,) = subject.diagnostics().values()
        assert record.channel_cos is None
        ends.append(param.detach())
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)
