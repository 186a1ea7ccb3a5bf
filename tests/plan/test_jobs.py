"""What rules ask of the plan, by a job's wildcards."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan
from trainyard.plan.jobs import Dag

TRAIN = {"steps": 10, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
Make = Callable[..., Dag]


def grid(dataset: str, limit: int | None = None, model: str = "gpt2-tiny", **train: Any) -> dict[str, Any]:
    """A grid whose models are scored on the endings of tinyworld."""
    evaluate = {"hellaswag": {"datasets": ["tinyworld-endings"], "limit": limit}}
    return {"datasets": [dataset], "models": [model], "train": TRAIN | train, "evaluate": evaluate}


@pytest.fixture
def dag(plan: Callable[..., Plan]) -> Make:
    """The jobs of a study `s`."""

    def make(*grids: dict[str, Any], **study: Any) -> Dag:
        made = plan({"title": "t", "question": "q", "grids": list(grids), **study})
        return Dag(made, Path("envs"), conda=False)

    return make


ENDINGS = SimpleNamespace(study="s", dataset="tinyworld-endings")


def test_shortcuts_are_scored_on_the_items_that_the_models_are(dag: Make) -> None:
    jobs = dag(grid("tinyworld", limit=20), grid("tinyworld", limit=50, model="opt-tiny"))
    assert jobs.evaluations.shortcut_items(ENDINGS) == {"split": "validation", "limit": 50}
    assert jobs.evaluations.choice_rows(ENDINGS) == "results/data/tinyworld-endings/rows/validation.parquet"


def test_one_evaluation_on_all_items_scores_the_shortcuts_on_all(dag: Make) -> None:
    jobs = dag(grid("tinyworld", limit=20), grid("tinyworld", model="opt-tiny"))
    assert jobs.evaluations.shortcut_items(ENDINGS) == {"split": "validation", "limit": None}


def test_shortcuts_count_words_in_the_text_that_the_scored_models_learned_from(dag: Make) -> None:
    unscored = {**grid("netflix-shows"), "evaluate": None}
    jobs = dag(unscored, grid("wikitext-2-raw", model="gpt2-124m", initial="pretrained"), grid("tinyworld"))
    assert jobs.evaluations.training_text(ENDINGS) == "results/data/tinyworld/rows/train.parquet"


def test_without_a_scored_model_trained_from_scratch_there_is_no_text_to_count_in(dag: Make) -> None:
    evaluate = {"hellaswag": {"datasets": ["tinyworld-endings"]}}
    unscored = {**grid("tinyworld"), "evaluate": {"perplexity": {}}}
    jobs = dag(unscored, pretrained=["gpt2-124m"], evaluate=evaluate)
    assert jobs.evaluations.training_text(ENDINGS) == []


@pytest.mark.parametrize(
    ("dataset", "split", "said"),
    [
        ("tinywrold", "train", "config/datasets.yaml: no dataset named 'tinywrold'; did you mean 'tinyworld'"),
        ("hellaswag", "test", "config/datasets.yaml: hellaswag.splits: no split named 'test'"),
    ],
)
def test_rows_that_are_asked_for_and_stand_in_no_entry_are_refused(
    dag: Make, dataset: str, split: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        dag(grid("tinyworld")).plain_files(SimpleNamespace(dataset=dataset, split=split))


@pytest.mark.parametrize(
    ("dataset", "shots", "rows"),
    [
        ("hellaswag", 10, "results/data/hellaswag/rows/train.parquet"),
        ("hellaswag", 0, []),
        ("tinyworld-endings", 10, []),
    ],
)
def test_shots_are_drawn_from_train_where_the_dataset_has_it(
    dag: Make, dataset: str, shots: int, rows: str | list[str]
) -> None:
    evaluate = {"hellaswag": {"datasets": [dataset], "shots": [shots]}, "perplexity": {"datasets": ["tinyworld"]}}
    jobs = dag(pretrained=["gpt2-124m"], evaluate=evaluate)
    at = {"study": "s", "run": "gpt2-124m", "checkpoint": "pretrained"}
    assert (
        jobs.evaluations.shots_rows(SimpleNamespace(**at, evaluation=f"hellaswag-{dataset}-harness-{shots}shot"))
        == rows
    )
    assert jobs.evaluations.shots_rows(SimpleNamespace(**at, evaluation="perplexity-tinyworld-test")) == []


def test_the_threads_of_an_evaluation_are_a_setting_and_not_the_cores_given(dag: Make) -> None:
    jobs = dag(grid("tinyworld"))
    run = next(iter(jobs.plan.studies["s"].runs))
    wildcards = SimpleNamespace(
        study="s", run=run, evaluation="hellaswag-tinyworld-endings-harness-0shot", checkpoint="best"
    )
    assert jobs.evaluations.specification(wildcards)["settings"]["threads"] == 2


def test_the_items_of_compared_evaluations_stand_beside_them(dag: Make) -> None:
    found = dag(grid("tinyworld"), grid("tinyworld", model="opt-tiny")).results("s")
    assert len(found["evaluations"]) == 2
    assert found["items"] == [file.removesuffix(".json") + ".parquet" for file in found["evaluations"]]


def test_differences_are_tabulated_where_two_models_share_an_evaluation(dag: Make) -> None:
    page = "results/s/report/differences.html"
    assert page in dag(grid("tinyworld"), grid("tinyworld", model="opt-tiny")).report("s")
    assert page not in dag(grid("tinyworld")).report("s")


CONTAMINATION = SimpleNamespace(study="s", training="tinyworld", dataset="tinyworld-endings", split="validation")
FILE = "results/s/contamination/tinyworld/tinyworld-endings-validation.json"


def asked(made: dict[str, Any], ngram: int | None = None) -> dict[str, Any]:
    """A grid that looks for what the training text gives away."""
    contamination = {} if ngram is None else {"ngram": ngram}
    return made | {"evaluate": made["evaluate"] | {"contamination": contamination}}


def test_contamination_is_looked_for_exactly_when_asked(dag: Make) -> None:
    page = "results/s/report/contamination.html"
    jobs = dag(grid("tinyworld"))
    assert jobs.results("s")["contamination"] == []
    assert page not in jobs.report("s")
    jobs = dag(asked(grid("tinyworld")))
    assert jobs.results("s")["contamination"] == [FILE]
    assert page in jobs.report("s")
    assert jobs.evaluations.ngram(CONTAMINATION) == 13


def test_contamination_is_looked_for_in_the_text_of_each_run_once(dag: Make) -> None:
    """Two models on one text share a file; another text, and the text's own test split, have theirs; samples none."""
    both = asked(grid("tinyworld"), ngram=8)
    both["models"] = ["gpt2-tiny", "opt-tiny"]
    both["datasets"] = ["tinyworld", "netflix-shows"]
    both["evaluate"] |= {"perplexity": {"split": "test"}, "samples": {"split": "validation"}}
    jobs = dag(both)
    assert jobs.results("s")["contamination"] == [
        f"results/s/contamination/{training}/{items}.json"
        for training in ("tinyworld", "netflix-shows")
        for items in (f"{training}-test", "tinyworld-endings-validation")
    ]
    assert jobs.evaluations.ngram(CONTAMINATION) == 8


def test_pretrained_models_have_no_text_to_look_through(dag: Make) -> None:
    shared = {"hellaswag": {"datasets": ["tinyworld-endings"]}, "contamination": {}}
    jobs = dag({**grid("tinyworld"), "evaluate": None}, pretrained=["gpt2-124m"], evaluate=shared)
    assert jobs.results("s")["contamination"] == [FILE]


def test_a_small_text_takes_one_thread_and_a_large_one_several(dag: Make) -> None:
    jobs = dag(grid("tinyworld"))
    small, large = (SimpleNamespace(training=name) for name in ("tinyworld", "fineweb-10b"))
    assert (jobs.evaluations.contamination_threads(small), jobs.evaluations.contamination_threads(large)) == (1, 8)
    assert jobs.evaluations.contamination_minutes(small) < jobs.evaluations.contamination_minutes(large) < 600


def test_the_size_of_n_grams_is_no_matter_of_other_pages(dag: Make) -> None:
    at = SimpleNamespace(study="s")
    plain, other = (dag(asked(grid("tinyworld"), ngram)).study(at) for ngram in (8, 13))
    assert plain == other == dag(grid("tinyworld")).study(at)


MEASURE = {"models": ["opt-tiny"], "parallel": ["single", "ddp", "fsdp"], "batch": [1, 2, 4], "sequence_length": [16]}


def test_cells_take_turns_each_round_in_another_order(dag: Make) -> None:
    jobs = dag(measure=[MEASURE])
    cells = list(jobs.plan.studies["s"].cells)
    turns = {
        (cell, launch): jobs.turn(SimpleNamespace(study="s", cell=cell, launch=launch))
        for cell in cells
        for launch in "123"
    }
    order = sorted(turns, key=lambda key: -turns[key])
    assert [launch for _, launch in order] == [launch for launch in "123" for _ in cells]
    rounds = {tuple(cell for cell, launch in order if launch == number) for number in "123"}
    assert len(rounds) == 3
    assert tuple(cells) not in rounds
    assert min(turns.values()) > 0  # what Snakemake counts as a reason to begin a job


def test_cells_and_runs_of_one_precision_and_threads_share_a_peak(dag: Make) -> None:
    jobs = dag(grid("tinyworld"), measure=[MEASURE, {**MEASURE, "threads": 2, "sequence_length": [8]}])
    cells = jobs.plan.studies["s"].cells
    peaks = {str(jobs.peak(SimpleNamespace(study="s", cell=name))) for name in cells}
    assert peaks == {f"results/peaks/cpu_fp32_threads{threads}.json" for threads in (1, 2)}
    assert jobs.results("s")["peaks"] == ["results/peaks/cpu_fp32_threads1.json"]


PAIRS = {"steps": 2, "batch": 2, "source_length": 16, "target_length": 8, "learning_rate": 1e-3}


def test_trainings_on_pairs_have_no_mfu_and_wait_for_no_peak(dag: Make) -> None:
    jobs = dag({"datasets": ["tinyworld-dialogues"], "models": ["bart-tiny", "gpt2-tiny"], "train": PAIRS})
    assert jobs.results("s")["peaks"] == []


def test_rouge_is_of_what_is_trained_on_pairs_and_of_models_with_an_encoder(dag: Make) -> None:
    pairs = {"datasets": ["tinyworld-dialogues"], "models": ["bart-tiny", "gpt2-tiny"], "train": PAIRS}
    evaluate = {"rouge": {"datasets": ["tinyworld-dialogues"], "split": "test"}}
    jobs = dag(pairs, {**grid("tinyworld"), "evaluate": None}, evaluate=evaluate)
    evaluated = {model.run for model in jobs.plan.studies["s"].evaluated_models if model.evaluations}
    assert evaluated == {f"tinyworld-dialogues_{name}_single-x1_fp32_seed1" for name in ("bart-tiny", "gpt2-tiny")}


def test_what_can_not_be_done_here_has_one_launch_that_says_so_and_no_peak(
    dag: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = dag(measure=[{**MEASURE, "parallel": ["ddp"], "precision": ["fp16"]}])
    monkeypatch.setattr(jobs, "why_unsupported", lambda _: "needs a GPU")
    name = next(iter(jobs.plan.studies["s"].cells))
    at = SimpleNamespace(study="s", cell=name)
    assert jobs.peak(at) == []
    assert [Path(file).name for file in jobs.launches(at)] == ["launch1.json"]
