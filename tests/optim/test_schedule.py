"""The learning rate of each step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup, get_wsd_schedule

from trainyard.config.train import Train
from trainyard.optim.schedule import decay_steps, learning_rate, warmup_steps


def settings(**more):
    return Train(**({"steps": 1, "batch": 1, "learning_rate": 1.0} | more))


def rates(train, steps):
    return [learning_rate(train, step, steps) for step in range(1, steps + 1)]


def rates_of_transformers(make_schedule, steps=40):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = make_schedule(optimizer)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_linear_decay_after_warm_up():
    found = rates(settings(warmup_steps=2, decay="linear", learning_rate=2.0), 6)
    assert found == [0.0, 1.0, 2.0, 1.5, 1.0, 0.5]


def test_cosine_decay_ends_towards_the_final_fraction():
    found = rates(settings(warmup_steps=0, decay="cosine", final_fraction=0.1), 4)
    expected = [1.0, 0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2, 0.55, 0.1 + 0.9 * (1 - math.sqrt(0.5)) / 2]
    assert found == pytest.approx(expected, abs=1e-15)


def test_constant_after_warm_up_from_a_tenth():
    found = rates(settings(warmup_steps=3, warmup_start=0.1, decay="constant"), 5)
    assert found == pytest.approx([0.1, 0.4, 0.7, 1.0, 1.0], abs=1e-15)


def test_golden_rates_of_the_fineweb_recipe():
    train = settings(learning_rate=1.2e-3, warmup_steps=715, warmup_start=0.1, final_fraction=0.1)
    steps = 19_073
    found = [learning_rate(train, step, steps) for step in (1, 358, 716, 9_895, 19_073)]
    assert found == pytest.approx([1.2e-4, 1.2e-3 * (0.1 + 0.9 * 357 / 715), 1.2e-3, 6.6e-4, 1.2e-4], rel=1e-6)


@pytest.mark.parametrize(
    ("decay", "theirs"), [("linear", get_linear_schedule_with_warmup), ("cosine", get_cosine_schedule_with_warmup)]
)
def test_the_defaults_are_the_schedules_of_transformers(decay, theirs):
    expected = rates_of_transformers(lambda optimizer: theirs(optimizer, 7, 40))
    assert rates(settings(learning_rate=3e-4, warmup_steps=7, decay=decay), 40) == pytest.approx(expected)


@pytest.mark.parametrize(("decay", "theirs"), [("linear", "linear"), ("cosine", "cosine"), ("sqrt", "1-sqrt")])
@pytest.mark.parametrize("final_fraction", [0.0, 0.1])
def test_with_a_decay_ratio_it_is_the_wsd_schedule_of_transformers(decay, theirs, final_fraction):
    expected = rates_of_transformers(
        lambda optimizer: get_wsd_schedule(
            optimizer, 7, 10, num_training_steps=40, decay_type=theirs, min_lr_ratio=final_fraction
        )
    )
    # in the warm-up too the lowest rate of theirs is the final one
    train = settings(
        learning_rate=3e-4,
        warmup_steps=7,
        warmup_start=final_fraction,
        decay=decay,
        decay_ratio=0.25,
        final_fraction=final_fraction,
    )
    assert rates(train, 40) == pytest.approx(expected)


def test_a_decay_ratio_is_rounded_up_to_steps_and_no_warm_up_decays():
    assert decay_steps(settings(decay_ratio=0.1), 101) == 11
    assert decay_steps(settings(decay_ratio=0.9, warmup_ratio=0.2), 100) == 80
    assert decay_steps(settings(warmup_ratio=0.2), 100) == 80


def test_a_constant_rate_has_no_decay_ratio():
    with pytest.raises(ValueError, match="decay_ratio: with decay: constant there is none"):
        settings(decay="constant", decay_ratio=0.1)


def test_a_warm_up_ratio_is_rounded_up_to_steps():
    assert warmup_steps(settings(warmup_ratio=0.1), 100) == 10
    assert warmup_steps(settings(warmup_ratio=0.1), 101) == 11
    assert warmup_steps(settings(), 100) == 0


@given(
    steps=st.integers(1, 50),
    warmup=st.integers(0, 60),
    start=st.floats(0, 1),
    final=st.floats(0, 1),
    decay=st.sampled_from(["linear", "cosine", "sqrt", "constant"]),
    ratio=st.none() | st.floats(0, 1, exclude_min=True),
)
def test_the_rate_stays_between_nothing_and_the_whole(steps, warmup, start, final, decay, ratio):
    ratio = None if decay == "constant" else ratio
    train = settings(warmup_steps=warmup, warmup_start=start, final_fraction=final, decay=decay, decay_ratio=ratio)
    assert all(0 <= rate <= 1 + 1e-12 for rate in rates(train, steps))
