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


def hardest(correct: np.ndarray, tests: int = 1, **points: np.ndarray) -> Comparison:
    model = answered(correct)
    found = hardest_rival(model, items([model], HASH, **points), ALL, tests)
    assert found is not None
    return found


def test_a_shortcut_on_the_same_items_is_paired_with_the_model():
    # 20 items that the model alone has right, none that the shortcut alone has: 2 * (1/2)^20
    found = hardest(first_right(120, 200), cheat=first_right(100, 200))
    assert found.rival == "the shortcut “cheat”"
    assert found.test.p == pytest.approx(2.0**-19)
    assert found.is_won
    assert not hardest(first_right(120, 200), tests=30_000, cheat=first_right(100, 200)).is_won


def test_p_and_interval_hold_for_all_tests_at_once():
    alone, among = (hardest(first_right(120, 200), tests, cheat=first_right(100, 200)).test for tests in (1, 4))
    assert among.p == pytest.approx(4 * alone.p)
    # McNemar's interval is normal: 2.498 standard errors are exceeded in 1.25 %
    assert (among.high - among.low) / (alone.high - alone.low) == pytest.approx(2.498 / 1.960, rel=1e-3)
    # Wilson's of 70 of 200 at 98.75 %
    low, high = stats.binomtest(70, 200).proportion_ci(0.9875, method="wilson")
    chance = hardest(first_right(70, 200), 4).test
    assert (chance.low, chance.high) == pytest.approx((low - 0.25, high - 0.25))
    flipped = [hardest(first_right(150, 200), tests, tied=np.tile([0.5, 0.25], 100)).test for tests in (1, 4)]
    assert flipped[1].low < flipped[0].low
    assert flipped[1].high > flipped[0].high


def test_the_best_of_eight_models_that_guess_seldom_beats_chance():
    generator = np.random.Generator(np.random.PCG64(11))
    trials, n = 1_000, 200
    best = generator.binomial(n, 0.25, (trials, 8)).max(axis=1)
    won = sum(min(1.0, 8 * stats.binomtest(int(right), n, 0.25).pvalue) < 0.05 for right in best)
    alone = sum(stats.binomtest(int(right), n, 0.25).pvalue < 0.05 for right in best)
    assert won <= stats.binom.ppf(0.9985, trials, 0.05)
    assert alone > 2 * stats.binom.ppf(0.9985, trials, 0.05)  # what the correction is for


def test_points_of_guesses_are_tested_by_flipping_signs():
    found = hardest(first_right(150, 200), tied=np.tile([0.5, 0.25], 100))
    assert (found.test.test, found.test.difference) == ("sign-flip permutation test", 0.375)
    assert found.is_won


def test_chance_can_be_the_hardest_to_beat():
    found = hardest(first_right(40, 200), poor=first_right(10, 200))
    assert found.rival == "chance"
    assert not found.is_won


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
    assert hardest(np.ones(n)).is_won == proof


def test_a_shortcut_that_was_scored_on_other_rows_is_named_as_not_tested():
    model = answered(first_right(150, 200))
    points = first_right(50, 200)
    for of_others, reason in (
        (items([model], rows_sha256="cd" * 32, cheat=points), "the files of rows differ"),
        (items([model], cheat=points[:100]), "other rows were scored"),
    ):
        found = hardest_rival(model, of_others, ALL)
        assert found is not None
        assert (found.rival, found.untested) == ("chance", {"the shortcut “cheat”": reason})
        assert found.is_won


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
