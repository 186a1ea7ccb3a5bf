"""Models beside chance and shortcuts: by tests on the same items, not by standard errors."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from trainyard.core.statistics import Score
from trainyard.report.results.item_scores import Items as ItemScores
from trainyard.report.results.runs import Evaluation
from trainyard.report.results.shortcuts import ShortcutScores
from trainyard.report.statistics import levels
from trainyard.report.statistics.levels import (
    ALL,
    Comparison,
    Items,
    Scored,
    compare_with_chance,
    hardest_rival,
    is_below_chance,
    is_guessing,
)

HASH = "ab" * 32


def answered(correct: np.ndarray) -> Scored:
    """A model with these answers, which are right (1) or wrong (0)."""
    evaluation = Evaluation(Path("none.json"), {"rows_sha256": HASH, "metric": "hellaswag"})
    evaluation.__dict__["items"] = ItemScores(np.arange(len(correct)), {"correct": correct})
    return Scored("model", "model", {ALL: (len(correct), Score(float(correct.mean())))}, evaluation)


def items(models: list[Scored], rows_sha256: str = HASH, **points: np.ndarray) -> Items:
    """Items of four endings with what shortcuts get on each."""
    scores = ShortcutScores(Path("none.json"), {"rows_sha256": rows_sha256, "baselines": points})
    if points:
        scores.__dict__["items"] = ItemScores(np.arange(len(next(iter(points.values())))), points)
    shortcuts = [
        Scored(name, name, {ALL: (len(each), Score(float(each.mean()), float(each.std()) or None))})
        for name, each in points.items()
    ]
    return Items("items", "acc", 0.25, [ALL], models, shortcuts, scores)


def first_right(count: int, n: int) -> np.ndarray:
    return (np.arange(n) < count).astype(float)


def hardest(correct: np.ndarray, **points: np.ndarray) -> Comparison:
    model = answered(correct)
    found = hardest_rival(model, items([model], HASH, **points), ALL)
    assert found is not None
    return found


def test_a_shortcut_on_the_same_items_is_paired_with_the_model():
    # 20 items that the model alone has right, none that the shortcut alone has: 2 * (1/2)^20
    found = hardest(first_right(120, 200), cheat=first_right(100, 200))
    assert found.rival == "the shortcut “cheat”"
    assert found.test.p == pytest.approx(2.0**-19)
    assert found.is_won()
    assert not found.is_won(tests=30_000)


def test_points_of_guesses_are_tested_by_flipping_signs():
    found = hardest(first_right(150, 200), tied=np.tile([0.5, 0.25], 100))
    assert (found.test.test, found.test.difference) == ("sign-flip permutation test", 0.375)
    assert found.is_won()


def test_chance_can_be_the_hardest_to_beat():
    found = hardest(first_right(40, 200), poor=first_right(10, 200))
    assert found.rival == "chance"
    assert not found.is_won()


def test_worse_than_one_of_several_rivals_is_corrected_for_their_number():
    half = first_right(100, 200)
    alone = hardest(half, cheat=first_right(120, 200))
    assert alone.test.p == pytest.approx(2 * 2.0**-19)  # of two rivals, chance and the shortcut
    assert hardest(half, cheat=first_right(120, 200), poor=first_right(60, 200)).test.p == pytest.approx(3 * 2.0**-19)


def test_the_rival_that_is_named_has_the_most_right_answers():
    found = hardest(first_right(150, 200), good=first_right(100, 200), tied=np.tile([0.5, 0.4], 100))
    assert (found.rival, found.test.difference) == ("the shortcut “good”", 0.25)
    assert found.test.p == 1e-4  # of the other one, which flips signs


def test_a_shortcut_that_is_always_right_is_not_beaten_by_a_model_that_is_too():
    found = hardest(np.ones(500), cheat=np.ones(500))
    assert (found.rival, found.test.difference, found.test.p) == ("the shortcut “cheat”", 0.0, 1.0)


def test_a_shortcut_that_guesses_at_every_item_is_chance():
    assert hardest(first_right(150, 200), blind=np.full(200, 0.25)).rival == "chance"


@pytest.mark.parametrize(("n", "proof"), [(2, False), (3, True)])
def test_right_answers_prove_something_from_three_on(n, proof):
    # (1/4)^2 = 0.06, (1/4)^3 = 0.02
    assert hardest(np.ones(n)).is_won() == proof


def test_nothing_is_said_where_a_shortcut_was_scored_on_other_rows():
    model = answered(first_right(150, 200))
    points = first_right(50, 200)
    assert hardest_rival(model, items([model], rows_sha256="cd" * 32, cheat=points), ALL) is None
    assert hardest_rival(model, items([model], cheat=points[:100]), ALL) is None


def test_guessing_has_the_spread_of_guesses():
    # 70 of 200: 25 % is 3.3 standard errors of guessing away, p = 0.0015 (scipy's exact test)
    value = Score(0.35, 0.034)
    assert compare_with_chance(value, 200, 0.25).p == stats.binomtest(70, 200, 0.25).pvalue
    assert not is_guessing(value, 200, 0.25)
    assert is_guessing(Score(0.27), 100, 0.25)


def test_a_model_that_is_always_wrong_is_below_chance():
    model = answered(np.zeros(100))
    assert is_below_chance(model, items([model]), ALL)
    assert not is_below_chance(answered(first_right(22, 100)), items([model]), ALL)


@pytest.mark.parametrize("n", [100, 500])
def test_a_model_that_guesses_seldom_beats_a_shortcut_that_guesses(n):
    """Points of 1/2 or 1/4 on some items, answers of 0 and 1: the differences aren't symmetric."""
    generator = np.random.Generator(np.random.PCG64(7))
    trials, won = 300, 0
    for _ in range(trials):
        correct = (generator.random(n) < 0.25).astype(float)
        points = np.where(generator.random(n) < 0.5, 0.25, 0.5 * (generator.random(n) < 0.5))
        model = answered(correct)
        test = levels._compare_with_shortcut(model, items([model], tied=points), ALL, "tied")
        assert not isinstance(test, str)
        won += test.p < 0.05
    assert won <= stats.binom.ppf(0.9985, trials, 0.05)
