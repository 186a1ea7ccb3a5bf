from dataclasses import asdict

import numpy as np
import pytest

from trainyard.core.statistics import Score, estimate_proportion
from trainyard.report.results.runs import parse_score
from trainyard.report.statistics.levels import CLEAR, Items, Scored, hardest_rival


def scored(name: str, **levels: tuple[int, Score]) -> Scored:
    return Scored(name, name, levels)


def items(*shortcuts: Scored) -> Items:
    return Items("items", "acc", 0.25, ["facts", "moves"], [], list(shortcuts))


def all_alike(n: int, right: bool = True) -> Score:
    """An accuracy of items that are all answered rightly, or all wrongly."""
    return parse_score(asdict(estimate_proportion(np.full(n, right))))


def hardest(model: Scored, *shortcuts: Scored) -> tuple[str, float]:
    found = hardest_rival(model, items(*shortcuts), "facts")
    assert found is not None
    return found


def test_the_smallest_difference_counts_and_not_the_highest_shortcut():
    model = scored("model", facts=(200, Score(0.50, 0.03)))
    sure = scored("sure", facts=(10_000, Score(0.37, 0.005)))
    unsure = scored("unsure", facts=(50, Score(0.36, 0.07)))
    found = hardest(model, sure, unsure)
    assert found == ("the shortcut “unsure”", pytest.approx(0.14 / (0.03**2 + 0.07**2) ** 0.5))
    assert found[1] < CLEAR < hardest(model, sure)[1]


def test_chance_can_be_the_hardest_to_beat():
    model = scored("model", facts=(200, Score(0.20, 0.03)))
    assert hardest(model, scored("poor", facts=(200, Score(0.10, 0.02))))[0] == "chance"


@pytest.mark.parametrize(("value", "sign"), [(1.0, 1), (0.0, -1)])
def test_an_accuracy_of_one_or_zero_takes_part(value, sign):
    model = scored("model", facts=(500, all_alike(500, bool(value))))
    tied = scored("tied", facts=(500, Score(0.25)))
    assert sign * hardest(model, tied)[1] > CLEAR


def test_a_shortcut_that_is_always_right_is_not_beaten_by_a_model_that_is_too():
    right = (500, all_alike(500))
    found = hardest(scored("model", facts=right), scored("cheat", facts=right))
    assert found == ("the shortcut “cheat”", 0.0)


def test_a_few_right_answers_are_no_proof():
    model = scored("model", facts=(3, all_alike(3)))
    assert hardest(model)[1] < CLEAR


def test_nothing_is_beaten_by_one_answer_nor_by_more_than_a_shortcut_of_one():
    one, many = (1, all_alike(1)), (500, Score(0.9, 0.02))
    assert hardest_rival(scored("model", facts=one), items(), "facts") is None
    assert hardest_rival(scored("model", facts=many), items(scored("shortcut", facts=one)), "facts") is None
