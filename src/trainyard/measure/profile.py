"""Where the time of a step goes: compute, communication, optimizer, offload and the rest, from torch's profiler."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent, Interval
from torch.profiler import ProfilerActivity, profile, record_function

from trainyard.parallel import process_group

PARTS: tuple[str, ...] = ("compute", "communication", "optimizer", "offload", "other")
_STEP, _OPTIMIZER, _OFFLOAD = "trainyard::step", "trainyard::optimizer", "trainyard::offload"
_BATCH = "trainyard::batch"
_COMMUNICATION = ("c10d", "_c10d_functional::", "gloo:", "nccl")
_COPIES = ("Memcpy HtoD", "Memcpy DtoH")
# where DeepSpeed reads and writes its swap files, and waits for them: no operator, which the profiler would see
_SWAPS = {
    "partitioned_optimizer_swapper.PartitionedOptimizerSwapper": (
        ("swap_in_optimizer_state", "swap_out_optimizer_state", "swap_out_gradients", "flush_gradients")
    ),
    "pipelined_optimizer_swapper.PipelinedOptimizerSwapper": (
        ("swap_in_optimizer_state", "swap_out_optimizer_state", "swap_out_gradients", "flush_gradients")
    ),
    "partitioned_param_swapper.AsyncPartitionedParameterSwapper": (
        ("swap_in", "swap_into_buffer", "swap_out_and_release", "synchronize_reads", "synchronize_writes")
    ),
}


class Span(NamedTuple):
    """A stretch of time, in microseconds, with the part that it belongs to.

    Where spans overlap, the one of the lowest order counts.
    """

    start: float
    end: float
    order: int
    part: str


# What computes counts before what it hides, and what is done before what is only waited for.
_KERNEL, _DEVICE_COMMUNICATION, _COPY, _OPERATOR, _UNDER_WAY, _BETWEEN, _WINDOW = range(7)


def profile_steps(step: Callable[[], object], owner: Any, steps: int) -> dict[str, Any]:
    """Profile `steps` calls of `step`; every rank calls it.

    Args:
        step: takes a step, and waits until the device has.
        owner: the engine whose optimizer's time is told apart.
        steps: 0 profiles nothing.

    Returns:
        `breakdown`: seconds per step, mean over steps and ranks, that add up to the whole step; None with
        `breakdown_reason` where the profiler could not.
    """
    if steps == 0:
        return {"breakdown": None, "breakdown_reason": "no step was to be profiled"}
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    profiler, reason = profile(activities=activities), None
    try:
        profiler.start()
    except RuntimeError as error:
        reason = f"torch's profiler did not start: {error}"
    with _mark_calls(owner):
        for _ in range(steps):  # whatever the profiler does: the other ranks wait in these steps
            with record_function(_STEP):
                step()
    parts = dict.fromkeys(PARTS, 0.0)
    if reason is None:
        try:
            profiler.stop()
            parts = attribute(find_spans(profiler.events() or []))
        except RuntimeError as error:
            reason = f"torch's profiler did not stop cleanly: {error}"
        if not any(parts.values()):
            reason = reason or "torch's profiler saw no step"
    (failed,) = process_group.max_over_ranks([reason is not None])
    totals = process_group.sum_over_ranks([parts[name] for name in PARTS])
    if failed:
        return {"breakdown": None, "breakdown_reason": reason or "torch's profiler failed on another rank"}
    each = 1e-6 / (steps * process_group.world_size())
    return {
        "breakdown": {name: total * each for name, total in zip(PARTS, totals, strict=True)},
        "breakdown_reason": None,
    }


def attribute(all_spans: Iterable[Span]) -> dict[str, float]:
    """The microseconds of the windows (spans of the highest order) that belong to each part; no time counts twice."""
    edges: list[tuple[float, int, tuple[int, str]]] = []
    for span in all_spans:
        edges += [(span.start, 1, (span.order, span.part)), (span.end, -1, (span.order, span.part))]
    edges.sort(key=lambda edge: edge[0])
    parts, active, window = dict.fromkeys(PARTS, 0.0), Counter(), (_WINDOW, "other")
    for (time, change, key), following in zip(edges, [*edges[1:], edges[-1]] if edges else [], strict=True):
        active[key] += change
        if not active[key]:
            del active[key]
        if active[window]:
            parts[min(active)[1]] += following[0] - time
    return parts


def find_spans(events: Iterable[FunctionEvent]) -> Iterator[Span]:
    """What each event of the profiler says about its time, in an order of spans that `attribute` settles."""
    events = list(events)
    stepping = _find_marks(events, "Optimizer.step")
    batches = _find_marks(events, _BATCH)
    for event in events:
        start, end = event.time_range.start, event.time_range.end
        if event.device_type == DeviceType.CUDA:
            if not event.is_user_annotation:
                optimizing, of_batch = (
                    any(each.start <= start < each.end for each in on) for on in (stepping, batches)
                )
                yield Span(start, end, *_classify_kernel(event.name, optimizing, of_batch))
        elif event.is_async:
            if event.name.startswith(_COMMUNICATION):
                yield Span(start, end, _UNDER_WAY, "communication")
        else:
            if event.name == _STEP:
                yield Span(start, end, _WINDOW, "other")
            yield from _own_spans(event)


def _find_marks(events: Iterable[FunctionEvent], name: str) -> list[Interval]:
    """When a GPU did what was asked of it within marks of this name."""
    return [
        event.time_range
        for event in events
        if event.device_type == DeviceType.CUDA and event.is_user_annotation and event.name.startswith(name)
    ]


def _classify_kernel(name: str, optimizing: bool, of_batch: bool) -> tuple[int, str]:
    if name.startswith(_COMMUNICATION):
        return _DEVICE_COMMUNICATION, "communication"
    if name.startswith(_COPIES):
        return _COPY, "other" if of_batch else "offload"
    return _KERNEL, "optimizer" if optimizing else "compute"


def _own_spans(event: FunctionEvent) -> Iterator[Span]:
    """The stretches of an event in the host's code that none of those it called covers."""
    order, part = _classify_call(event)
    if part == "other":
        return
    at = event.time_range.start
    for child in sorted(event.cpu_children, key=lambda child: child.time_range.start):
        if child.time_range.start > at:
            yield Span(at, child.time_range.start, order, part)
        at = max(at, child.time_range.end)
    if event.time_range.end > at:
        yield Span(at, event.time_range.end, order, part)


def _classify_call(event: FunctionEvent) -> tuple[int, str]:
    """The part of a call, by itself and those that it was called from.

    An operator works; a function of autograd or a mark around Python may as well wait.
    """
    order, part, within = _BETWEEN, "other", event
    while within is not None:
        name = within.name
        if name.startswith(_COMMUNICATION):
            return _OPERATOR, "communication"
        if name == _OFFLOAD:
            return order, "offload"
        if name == _OPTIMIZER or name.startswith("Optimizer.step"):
            return order, "optimizer"
        if not within.is_user_annotation:
            part = "compute"
            if "::" in name and "autograd" not in name:
                order = _OPERATOR
        within = within.cpu_parent
    return order, part


@contextmanager
def _mark_calls(owner: Any) -> Iterator[None]:
    """Mark what torch's profiler doesn't know: optimizers that frameworks wrap, swap files, and a batch's copies."""
    with ExitStack() as stack:
        if hasattr(owner, "_to_device"):
            owner._to_device = record_function(_BATCH)(owner._to_device)
            stack.callback(delattr, owner, "_to_device")
        for name in ("optimizer", "engine"):
            wrapper = getattr(owner, name, None)
            if wrapper is not None and hasattr(wrapper, "step") and not isinstance(wrapper, torch.optim.Optimizer):
                wrapper.step = record_function(_OPTIMIZER)(wrapper.step)
                stack.callback(delattr, wrapper, "step")
        for module_name, methods in _SWAPS.items():
            module, _, kind = module_name.partition(".")
            swapper = getattr(sys.modules.get(f"deepspeed.runtime.swap_tensor.{module}"), kind, None)
            for method in methods if swapper else ():
                plain = getattr(swapper, method)
                setattr(swapper, method, record_function(_OFFLOAD)(plain))
                stack.callback(setattr, swapper, method, plain)
        yield
