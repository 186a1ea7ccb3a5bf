"""Held-out data that is trained on is refused before anything runs, as far as slices tell."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan, make_plan

STUDY = yaml.safe_load("""
title: A study
question: Is it held out?
grids:
  - datasets: [mine]
    models: [gpt2-bytes]
    train: {steps: 10, batch: 8, sequence_length: 64, learning_rate: 1.0e-3}
evaluate: {checkpoints: [last], perplexity: {datasets: [other], split: test}}
""")
HUB = {"hub": "me/mine", "revision": "0123abc"}


def entry(source: dict[str, Any], **splits: str) -> dict[str, Any]:
    return {"title": "t", "kind": "text", "licence": "CC0", "source": source, "splits": splits}


@pytest.fixture
def planned(folder: Path) -> Callable[..., Plan]:
    def plan(mine: dict[str, Any], other: dict[str, Any] | None = None, study: dict[str, Any] = STUDY) -> Plan:
        datasets = yaml.safe_load((folder / "datasets.yaml").read_text())
        datasets |= {"mine": mine, "other": other or entry({"files": {"test": "other.txt"}}, test="test")}
        (folder / "datasets.yaml").write_text(yaml.safe_dump(datasets, sort_keys=False))
        models = yaml.safe_load((folder / "models.yaml").read_text())
        models["gpt2-bytes"] = {**models["gpt2-tiny"], "tokenizer": "bytes"}
        (folder / "models.yaml").write_text(yaml.safe_dump(models))
        (folder / "studies" / "s.yaml").write_text(yaml.safe_dump(study))
        return make_plan({"studies": "s"}, folder)

    return plan


@pytest.mark.parametrize(
    ("source", "splits", "said"),
    [
        (
            HUB,
            {"train": "train", "test": "train"},
            "train ('train') and test ('train') share rows of me/mine at 0123abc",
        ),
        (HUB, {"train": "train[:90%]", "validation": "train[80%:]"}, "share rows of me/mine at 0123abc split train"),
        (HUB, {"validation": "test", "test": "test[:10]"}, "validation ('test') and test ('test[:10]') share rows"),
        ({"files": {"train": "a.csv", "test": "./a.csv"}}, {"train": "train", "test": "test"}, "a.csv; cut them apart"),
        (
            {"embedded": "tinyworld", "part": "stories", "rows": {"train": 100}},
            {"train": "train[:60]", "test": "train[50%:]"},
            "share rows of tinyworld stories, seed 0, split train",
        ),
    ],
)
def test_splits_that_share_rows_are_refused(
    planned: Callable[..., Plan], source: dict[str, Any], splits: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=r"datasets.yaml: mine: splits: ") as error:
        planned(entry(source, **splits))
    assert said in str(error.value)


def test_a_link_to_the_training_file_is_the_same_file(planned: Callable[..., Plan], tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a document\n")
    (tmp_path / "test.txt").symlink_to("train.txt")
    files = {split: str(tmp_path / f"{split}.txt") for split in ("train", "test")}
    with pytest.raises(InputError, match=r"train \('train'\) and test \('test'\) share rows of .*/train.txt"):
        planned(entry({"files": files}, train="train", test="test"))


def test_slices_of_one_split_that_lie_apart_are_taken(planned: Callable[..., Plan]) -> None:
    planned(entry(HUB, train="train[:90%]", validation="train[90%:95%]", test="train[95%:]"))
    planned(entry({"files": {"train": "a.csv"}}, train="train[:-100]", test="train[-100:]"))


def test_a_dataset_that_is_scored_on_and_holds_rows_trained_on_is_refused(planned: Callable[..., Plan]) -> None:
    with pytest.raises(
        InputError, match=r"s.yaml: evaluate.perplexity: other test is not held out from a run"
    ) as error:
        planned(entry(HUB, train="train[:90%]"), entry(HUB, test="train[85%:]"))
    assert "trained on mine: both hold rows of me/mine at 0123abc split train; choose another split or" in str(
        error.value
    )
    planned(entry(HUB, train="train[:90%]"), entry(HUB, test="train[90%:]"))
    planned(entry(HUB, train="train[:90%]"), entry({**HUB, "configuration": "other"}, test="train[85%:]"))


def test_scores_on_the_training_split_itself_are_refused(planned: Callable[..., Plan]) -> None:
    study = copy.deepcopy(STUDY)
    study["evaluate"]["perplexity"] = {"split": "train"}
    with pytest.raises(InputError, match="mine train is not held out from a run that is trained on mine"):
        planned(entry(HUB, train="train"), study=study)


@pytest.mark.parametrize(
    ("source", "splits", "said"),
    [
        (
            HUB,
            {"train": "train[90%]"},
            "mine.splits: train: 'train[90%]' has no colon; write 'train[90%:]'",
        ),
        (HUB, {"test": "test+test"}, "mine.splits: test: 'test+test' takes rows of test twice; cut them apart"),
        (HUB, {"train": "train[:75%]+train[25%:]"}, "takes rows of train twice"),
        (HUB, {"train": "train[60%:50%]"}, "mine.splits: train: 'train[60%:50%]' names no rows, however many"),
        (
            {"files": {"train": "a.csv"}},
            {"test": "test"},
            "mine: splits.test: the source has no split 'test'; it has train",
        ),
    ],
)
def test_a_slice_that_can_not_be_cut_is_refused(
    planned: Callable[..., Plan], source: dict[str, Any], splits: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError) as error:
        planned(entry(source, **splits))
    assert said in str(error.value)


def test_every_held_out_split_that_a_run_meets_is_looked_through_for_training_rows(
    planned: Callable[..., Plan],
) -> None:
    plan = planned(entry(HUB, train="train", validation="validation"))
    assert plan.studies["s"].duplicate_files == [
        "results/data/mine/rows/duplicates/mine-validation.json",
        "results/data/mine/rows/duplicates/other-test.json",
    ]
