"""Values of searched settings."""

import math

import pytest
from pydantic import ValidationError

from trainyard.config.train import Train
from trainyard.config.tune import Range
from trainyard.tune.space import chance_of, draw, grid, perturb, settle

SPACE = {
    "learning_rate": Range.model_validate({"log": (1e-5, 1e-3)}),
    "weight_decay": Range.model_validate({"linear": (0.0, 0.2)}),
    "dropout": Range.model_validate({"choice": [0.0, 0.1, 0.2]}),
}


def test_draws_are_those_of_their_key_and_never_change() -> None:
    assert draw(SPACE, chance_of(1, 1, 1)) == draw(SPACE, chance_of(1, 1, 1))
    assert draw(SPACE, chance_of(1, 1, 1)) != draw(SPACE, chance_of(1, 1, 2))
    assert draw(SPACE, chance_of(1, 1, 1)) == {"learning_rate": 0.000196615, "weight_decay": 0.00197882, "dropout": 0.1}


def test_draws_lie_evenly_in_their_ranges() -> None:
    draws = [draw(SPACE, chance_of("even", number)) for number in range(3000)]
    logs = [math.log10(each["learning_rate"]) for each in draws]
    assert sum(logs) / 3000 == pytest.approx(-4, abs=0.05)
    assert sum(each["weight_decay"] for each in draws) / 3000 == pytest.approx(0.1, abs=0.005)
    assert {each["dropout"] for each in draws} == {0.0, 0.1, 0.2}
    assert sum(each["dropout"] == 0.1 for each in draws) / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert -5 <= min(logs) < -4.99
    assert -3.01 < max(logs) <= -3


def test_a_changed_setting_is_multiplied_or_drawn_anew_and_stays_in_its_range() -> None:
    before = {"learning_rate": 9e-4, "weight_decay": 0.1, "dropout": 0.1}
    changed = [perturb(SPACE, before, chance_of("perturb", number)) for number in range(2000)]
    rates = [each["learning_rate"] for each in changed]
    assert max(rates) == 1e-3  # 1.2 times would be beyond it
    assert sum(rate in (7.2e-4, 1e-3) for rate in rates) / 2000 == pytest.approx(0.75, abs=0.03)
    decays = [each["weight_decay"] for each in changed]
    assert sum(decay == 0.12 for decay in decays) / 2000 == pytest.approx(0.375, abs=0.04)
    assert sum(decay == 0.08 for decay in decays) / 2000 == pytest.approx(0.375, abs=0.04)
    kept = sum(each["dropout"] == 0.1 for each in changed) / 2000
    assert kept == pytest.approx(0.25 / 3, abs=0.03)  # drawn anew: a step in a list is a change


def test_at_the_end_of_a_list_of_choices_a_step_stays_there() -> None:
    space = {"dropout": SPACE["dropout"]}
    found = {perturb(space, {"dropout": 0.2}, chance_of("end", number))["dropout"] for number in range(100)}
    assert found == {0.0, 0.1, 0.2}


@pytest.mark.parametrize(("most", "points"), [(2, 2), (3, 3), (4, 4), (5, 4), (8, 8), (12, 12), (18, 18), (30, 27)])
def test_a_grid_has_no_more_points_than_there_are_members(most: int, points: int) -> None:
    found = grid(SPACE, most)
    assert len(found) == points
    assert len({tuple(each.values()) for each in found}) == points


def test_a_grid_goes_from_bound_to_bound_and_takes_the_middle_of_what_has_one_value() -> None:
    rates = [each["learning_rate"] for each in grid(SPACE, 3)]
    assert rates == [1e-5, 1e-4, 1e-3]
    assert {each["weight_decay"] for each in grid(SPACE, 3)} == {0.1}
    for most, rates in ((9, [0.0, 0.1, 0.2]), (2, [0.0, 0.2])):
        assert [each["dropout"] for each in grid({"dropout": SPACE["dropout"]}, most)] == rates
    assert {each["dropout"] for each in grid(SPACE, 3)} == {0.1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "exactly one of log, linear, choice"),
        ({"log": (1, 2), "linear": (1, 2)}, "given: log, linear"),
        ({"linear": (2, 1)}, "linear: 2 is not below 1"),
        ({"log": (0, 1)}, "log: 0 has no logarithm"),
        ({"choice": []}, "choice"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(given: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Range.model_validate(given)


def test_a_choice_that_is_written_short_is_settled_as_a_specification_has_it() -> None:
    train = Train.model_validate({"learning_rate": 1.0, "batch": 8, "steps": 9, "lora": {"rank": 2}})
    template = train.model_dump(mode="json")
    assert settle(template, {"lora": {"rank": 4}})["lora"] == template["lora"] | {"rank": 4}
    assert settle(template, {"lora": None}) == {name: value for name, value in template.items() if name != "lora"}
