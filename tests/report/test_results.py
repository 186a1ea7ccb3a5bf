from dataclasses import asdict

import numpy as np
import pytest

from trainyard.core.errors import InputError
from trainyard.core.statistics import Score, estimate_proportion, z_score
from trainyard.report.results.runs import (
    distinguishing_coordinates,
    label,
    model_labels,
    parse_score,
    read_evaluations,
    read_runs,
)


def exact(value: float) -> Score:
    """What is known and not measured."""
    return Score(value, 0.0, value, value)


def labels(results):
    runs = read_runs(results.runs)
    return [label(run, distinguishing_coordinates(runs)) for run in runs]


def test_a_label_holds_only_what_tells_runs_apart(empty):
    empty.add_run("a", model="gpt2-1m", dataset="x", precision="bf16")
    empty.add_run("b", model="gpt2-500k", dataset="y")
    empty.add_run("c", model="bart-tiny", dataset="z")
    assert labels(empty) == ["gpt2-1m", "gpt2-500k", "bart-tiny"]


def test_a_label_grows_until_every_run_is_its_own(empty):
    for seed in (1, 2):
        for parallel in ("ddp", "zero2"):
            empty.add_run(f"{parallel}{seed}", parallel=parallel, seed=seed)
    assert labels(empty) == ["ddp · seed 1", "zero2 · seed 1", "ddp · seed 2", "zero2 · seed 2"]


def test_one_run_is_called_by_its_model(empty):
    empty.add_run("a")
    assert labels(empty) == ["gpt2-1m"]


def test_a_pretrained_model_says_so_and_a_checkpoint_where_there_are_several(empty):
    empty.add_run("a")
    for run, checkpoint in (("a", "best"), ("a", "last"), ("gpt2-1m", "pretrained")):
        empty.add_evaluation(run, "perplexity", {"perplexity_word": (30.0, 1.0)}, checkpoint=checkpoint)
    found = model_labels(read_runs(empty.runs), read_evaluations(empty.evaluations))
    assert found == ["gpt2-1m (best)", "gpt2-1m (last)", "gpt2-1m (pretrained)"]


def test_a_difference_counts_combined_standard_errors():
    assert z_score(Score(10.0, 3.0), Score(0.0, 4.0)) == pytest.approx(2.0)
    assert z_score(Score(10.0), Score(0.0)) is None
    assert z_score(Score(10.0, low=8.04, high=11.96), exact(9.0)) == pytest.approx(1.0)


def test_an_unknown_error_is_not_none_at_all():
    assert z_score(Score(10.0), Score(0.0, 3.0)) is None
    assert z_score(Score(10.0, 0.0), Score(0.0, 3.0)) is None
    assert z_score(exact(10.0), exact(9.0)) is None


def test_an_accuracy_that_all_items_agree_on_has_an_error_from_wilsons_interval():
    reach = 1.96**2 / (500 + 1.96**2)
    every, none = (parse_score(asdict(estimate_proportion(np.full(500, right)))) for right in (True, False))
    assert every.interval == pytest.approx((1 - reach, 1.0), abs=1e-6)
    assert none.interval == pytest.approx((0.0, reach), abs=1e-6)
    assert (every.effective_error, none.effective_error) == pytest.approx((reach / 1.96, reach / 1.96), rel=1e-4)
    assert z_score(every, exact(0.25)) == pytest.approx(0.75 * 1.96 / reach, rel=1e-4)


def test_an_interval_with_unequal_ends_gives_the_larger_error():
    assert Score(1.0, 0.0, 0.96, 1.0).effective_error == pytest.approx(0.04 / 1.96)


def test_a_missing_summary_names_its_file(empty):
    folder = empty.add_run("a")
    (folder / "summary.json").unlink()
    with pytest.raises(InputError, match=r"summary\.json: no such file"):
        read_runs([folder])
