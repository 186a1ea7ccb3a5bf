import time

import pytest
import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent

from trainyard.measure.profile import PARTS, Span, attribute, find_spans, profile_steps

WINDOW = Span(0.0, 100.0, 6, "other")


def test_every_moment_of_a_step_belongs_to_one_part():
    found = attribute(
        [WINDOW, Span(10, 60, 3, "compute"), Span(40, 90, 4, "communication"), Span(95, 120, 5, "optimizer")]
    )
    assert found == {"compute": 50, "communication": 30, "optimizer": 5, "offload": 0, "other": 15}


def test_what_computes_hides_what_is_under_way_on_the_device():
    found = attribute(
        [WINDOW, Span(0, 50, 0, "compute"), Span(20, 80, 1, "communication"), Span(70, 100, 2, "offload")]
    )
    assert found == {"compute": 50, "communication": 30, "optimizer": 0, "offload": 20, "other": 0}


def test_time_outside_the_steps_is_not_counted():
    assert attribute([WINDOW, Span(150, 200, 3, "compute")])["compute"] == 0
    assert attribute([]) == dict.fromkeys(PARTS, 0.0)


def test_a_real_step_adds_up_and_shows_what_it_does():
    weight = torch.rand(512, 512, requires_grad=True)
    optimizer = torch.optim.AdamW([weight])
    seconds = []

    def step():
        start = time.perf_counter()
        (weight @ weight).sum().backward()
        time.sleep(0.05)
        optimizer.step()
        seconds.append(time.perf_counter() - start)

    found = profile_steps(step, object(), steps=3)
    assert found["breakdown_reason"] is None
    parts = found["breakdown"]
    assert sum(parts.values()) == pytest.approx(sum(seconds) / 3, rel=0.2)
    assert parts["other"] > 0.045
    assert min(parts["compute"], parts["optimizer"]) > 0
    assert parts["communication"] == parts["offload"] == 0


class Wrapper:
    """An optimizer that is none of torch's."""

    def step(self):
        time.sleep(0.02)


class Owner:
    def __init__(self):
        self.optimizer = Wrapper()

    def train_step(self):
        self.optimizer.step()


def test_an_optimizer_that_a_framework_wraps_is_told_apart():
    owner = Owner()
    found = profile_steps(owner.train_step, owner, steps=1)["breakdown"]
    assert found["optimizer"] > 0.018
    assert "step" not in vars(owner.optimizer)


def on_gpu(number, name, start, end, mark=False):
    """An event as the profiler tells of a GPU."""
    return FunctionEvent(number, name, 1, start, end, device_type=DeviceType.CUDA, is_user_annotation=mark)


def test_the_copies_of_a_batch_are_no_offload_and_others_are():
    events = [
        FunctionEvent(1, "trainyard::step", 1, 0, 100, is_user_annotation=True),
        on_gpu(2, "trainyard::batch", 0, 10, mark=True),
        on_gpu(3, "Memcpy HtoD (Pageable -> Device)", 0, 4),
        on_gpu(4, "Memcpy HtoD (Pageable -> Device)", 5, 10),
        on_gpu(5, "gemm", 10, 50),
        on_gpu(6, "Memcpy HtoD (Pinned -> Device)", 40, 70),
        on_gpu(7, "Memcpy DtoH (Device -> Pinned)", 80, 90),
    ]
    found = attribute(find_spans(events))
    assert found == {"compute": 40, "communication": 0, "optimizer": 0, "offload": 30, "other": 30}


class Mover:
    """An owner that notes whether its call is marked."""

    def _to_device(self, batch):
        return batch


def test_the_copies_of_a_batch_are_marked_while_it_is_profiled_alone():
    owner, marks = Mover(), []

    def step():
        with torch.profiler.record_function("within"):
            owner._to_device({})
        marks.append("_to_device" in vars(owner))

    assert profile_steps(step, owner, steps=1)["breakdown_reason"] is None
    assert marks == [True]
    assert vars(owner) == {}


def test_nothing_is_profiled_unless_asked_for():
    assert profile_steps(lambda: pytest.fail("a step"), object(), steps=0)["breakdown"] is None


def test_a_profiler_that_does_not_start_is_a_null_with_the_reason_and_the_steps_are_taken(monkeypatch):
    def fail(_):
        raise RuntimeError("no CUPTI here")

    monkeypatch.setattr(torch.profiler.profile, "start", fail)
    taken = []
    found = profile_steps(lambda: taken.append(1), object(), steps=2)
    assert found == {"breakdown": None, "breakdown_reason": "torch's profiler did not start: no CUPTI here"}
    assert len(taken) == 2
