"""From a study file to runs, probes, cells and evaluations."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainyard.plan.configuration import Plan, make_plan

CONFIG = Path(__file__).resolve().parents[2] / "config"
STUDIES = sorted(path.stem for path in (CONFIG / "studies").glob("*.yaml"))


def study(**grid: Any) -> dict[str, Any]:
    train = {"steps": 100, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3}
    return {
        "title": "t",
        "question": "q",
        "grids": [{"datasets": ["tinyworld"], "models": ["gpt2-tiny"], "train": train, **grid}],
    }


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_repository_plans(name: str) -> None:
    plan = make_plan({"studies": name, "device": "cpu"}, CONFIG)
    assert plan.studies[name].runs or plan.studies[name].cells


def test_a_grid_is_a_product(plan: Callable[..., Plan]) -> None:
    runs = plan(study(models=["gpt2-tiny", "opt-tiny"], parallel=["ddp", "zero2"], processes=[2], seeds=[1, 2, 3]))
    assert len(runs.studies["s"].trainings) == 12


def test_an_added_seed_leaves_the_names_of_the_others(plan: Callable[..., Plan]) -> None:
    before = set(plan(study(seeds=[1])).studies["s"].runs)
    after = set(plan(study(seeds=[1, 2])).studies["s"].runs)
    assert before < after


def test_a_specification_is_plain_json(plan: Callable[..., Plan]) -> None:
    for run in plan(study(parallel=["zero2"], processes=[2])).studies["s"].runs.values():
        assert json.loads(json.dumps(run.specification)) == run.specification


def test_later_settings_override_earlier_ones_grid_dataset_model_parallel_recipe(plan: Callable[..., Plan]) -> None:
    overrides = {
        "datasets": {"tinyworld": {"weight_decay": 1, "max_grad_norm": 1, "epsilon": 1, "dropout": 0.1}},
        "models": {"gpt2-tiny": {"max_grad_norm": 2, "epsilon": 2, "dropout": 0.2}},
        "parallel": {"single": {"epsilon": 3, "dropout": 0.3}},
    }
    made = plan(study(overrides=overrides, recipes={"wet": {"dropout": 0.4}})).studies["s"]
    (run,) = made.trainings
    train = run.specification["train"]
    assert [train[key] for key in ("weight_decay", "max_grad_norm", "epsilon", "dropout")] == [1, 2, 3, 0.4]
    assert "_wet_" in run.name


def test_studies_may_be_a_name_a_list_or_names_with_commas(folder: Path, plan: Callable[..., Plan]) -> None:
    plan(study())
    (folder / "studies" / "r.yaml").write_text(yaml.safe_dump(study()))
    for given in (["s", "r"], "s,r", "s r"):
        assert list(make_plan({"studies": given}, folder).studies) == ["s", "r"]


def test_a_probe_has_its_reference_which_takes_the_same_micro_batches(plan: Callable[..., Plan]) -> None:
    probed = study() | {"probes": [{"parallel": ["ddp", "zero3"], "steps": 20}]}
    made = plan(probed).studies["s"]
    assert [run.specification["parallel"]["name"] for run in made.probes] == ["ddp", "zero3"]
    for probe in made.probes:
        assert probe.reference is not None
        reference = made.runs[probe.reference].specification
        mine = probe.specification
        assert (reference["processes"], reference["precision"]) == (1, "fp32")
        assert mine["train"] == reference["train"]
        assert (mine["train"]["dropout"], mine["train"]["max_grad_norm"], mine["train"]["steps"]) == (0.0, None, 20)
        assert reference["parallel"]["options"] == {"ranks": 2}
        assert mine["train"]["batch"] == mine["processes"] * mine["train"]["micro_batch"]


def test_metrics_without_datasets_take_the_runs_own(plan: Callable[..., Plan]) -> None:
    made = plan(study(evaluate={"perplexity": {"split": "test"}, "checkpoints": ["best", "last"]})).studies["s"]
    assert [Path(file).name for file in made.evaluation_files] == [
        "perplexity-tinyworld-test@best.json",
        "perplexity-tinyworld-test@last.json",
    ]


def test_the_tokens_of_a_recipe_are_whole_steps() -> None:
    plan = make_plan({"studies": "gpt2-fineweb", "device": "cuda"}, CONFIG)
    for run in plan.studies["gpt2-fineweb"].trainings:
        assert run.specification["train"]["tokens"] // run.specification["train"]["batch_tokens"] == 19_073


def test_the_order_of_keys_in_a_study_changes_no_specification(plan: Callable[..., Plan]) -> None:
    one = study()
    other = copy.deepcopy(one)
    other["grids"][0]["train"] = dict(reversed(one["grids"][0]["train"].items()))
    first = [json.dumps(run.specification) for run in plan(one).studies["s"].runs.values()]
    second = [json.dumps(run.specification) for run in plan(other).studies["s"].runs.values()]
    assert first == second


def test_a_reference_cuts_a_batch_into_as_many_shares_as_its_probes_do(plan: Callable[..., Plan]) -> None:
    probed = study() | {"probes": [{"parallel": ["ddp", "tensor", "fsdp"], "processes": 2, "steps": 20}]}
    made = plan(probed).studies["s"]
    shares = {}
    for probe in made.probes:
        assert probe.reference is not None
        mine, its = probe.specification, made.runs[probe.reference].specification
        shares[mine["parallel"]["name"]] = (its["parallel"]["options"]["ranks"], its["train"]["micro_batch"])
        assert mine["train"] == its["train"]
    assert shares["ddp"] == shares["fsdp"] == (2, 4)
    assert shares["tensor"] == (1, 8)


def test_a_probe_in_half_precision_has_a_reference_in_that_precision_too(plan: Callable[..., Plan]) -> None:
    probed = study() | {"probes": [{"parallel": ["ddp", "fsdp"], "precision": ["fp32", "bf16"], "steps": 20}]}
    made = plan(probed).studies["s"]
    assert len(made.runs) - len(made.trainings) == 4 + 3
    for probe in made.probes:
        assert probe.reference is not None
        mine, exact = probe.specification, made.runs[probe.reference].specification
        assert exact["precision"] == "fp32"
        assert exact["train"] == mine["train"]
        if mine["precision"] == "fp32":
            assert probe.same_precision is None
            continue
        assert probe.same_precision is not None
        same = made.runs[probe.same_precision].specification
        assert (same["precision"], same["processes"], same["train"]) == ("bf16", 1, mine["train"])


def test_probes_decay_and_below_fp32_clip_so_that_what_is_left_out_shows(plan: Callable[..., Plan]) -> None:
    probed = study() | {"probes": [{"parallel": ["ddp"], "precision": ["fp32", "bf16", "fp16"]}]}
    trains = [probe.specification["train"] for probe in plan(probed).studies["s"].probes]
    assert [(train["weight_decay"], train["max_grad_norm"]) for train in trains] == [
        (1.0, None),
        (1.0, 0.5),
        (1.0, 0.5),
    ]
    own = study() | {"probes": [{"parallel": ["ddp"], "train": {"weight_decay": 0.3}}]}
    assert [probe.specification["train"]["weight_decay"] for probe in plan(own).studies["s"].probes] == [0.3]


def test_two_lists_of_probes_share_their_reference(plan: Callable[..., Plan]) -> None:
    lists = [{"parallel": [parallel], "processes": 2, "steps": 20} for parallel in ("ddp", "fsdp")]
    assert len(plan(study() | {"probes": lists}).studies["s"].runs) == 1 + 1 + 2


def test_what_a_run_does_not_depend_on_is_not_in_its_specification(folder: Path, plan: Callable[..., Plan]) -> None:
    probed = study(models=["gpt2-124m"], parallel=["ddp"]) | {"probes": [{"parallel": ["zero2"]}]}
    probed |= {"measure": [{"models": ["gpt2-124m"], "parallel": ["ddp"], "batch": [1], "sequence_length": [32]}]}
    before = plan(probed).studies["s"]
    for file, changes in (
        ("models", {"gpt2-124m": {"title": "Another", "weights": {"hub": "a/b", "revision": "c"}}}),
        ("parallel", {"ddp": {"title": "Another", "precision": ["fp32"]}, "zero2": {"title": "Another"}}),
    ):
        path = folder / f"{file}.yaml"
        entries = yaml.safe_load(path.read_text())
        for name, change in changes.items():
            entries[name] |= change
        path.write_text(yaml.safe_dump(entries))
    after = plan(probed).studies["s"]
    assert [run.specification for run in after.runs.values()] == [run.specification for run in before.runs.values()]
    assert [cell.specification for cell in after.cells.values()] == [
        cell.specification for cell in before.cells.values()
    ]


def test_a_run_that_starts_from_weights_depends_on_them(plan: Callable[..., Plan]) -> None:
    train = {"steps": 1, "batch": 1, "sequence_length": 64, "learning_rate": 1e-3, "initial": "pretrained"}
    (run,) = plan(study(models=["gpt2-124m"], train=train)).studies["s"].trainings
    assert run.specification["model"]["weights"]


def kept(**evaluate: Any) -> dict[str, Any]:
    """A study whose run keeps two steps."""
    train = {"steps": 100, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3, "keep_steps": [40, 20]}
    return study(train=train, evaluate=evaluate)


def names_of(files: list[str]) -> list[str]:
    return [Path(file).stem for file in files]


def test_kept_stands_for_every_step_that_a_run_keeps(plan: Callable[..., Plan]) -> None:
    made = plan(kept(perplexity={}, checkpoints=["best", "kept"])).studies["s"]
    assert names_of(made.evaluation_files) == [
        f"perplexity-tinyworld-test@{at}" for at in ("best", "step-40", "step-20")
    ]


def test_a_metric_may_have_checkpoints_of_its_own(plan: Callable[..., Plan]) -> None:
    endings = {"datasets": ["tinyworld-endings"], "checkpoints": ["kept"]}
    made = plan(kept(perplexity={}, hellaswag=endings, checkpoints=["last"])).studies["s"]
    scored = [(each.metric, model.checkpoint) for model, each in made.by_evaluation.values()]
    assert scored == [("perplexity", "last"), ("hellaswag", "step-40"), ("hellaswag", "step-20")]


def test_models_are_compared_by_their_ends_and_by_their_last_step_where_no_end_was_evaluated(
    plan: Callable[..., Plan],
) -> None:
    endings = {"datasets": ["tinyworld-endings"], "checkpoints": ["kept"]}
    made = plan(kept(perplexity={}, hellaswag=endings, checkpoints=["best", "last", "kept"])).studies["s"]
    assert names_of(made.compared_files) == [
        "perplexity-tinyworld-test@best",
        "perplexity-tinyworld-test@last",
        "hellaswag-tinyworld-endings-harness-0shot@step-40",
    ]


def test_samples_give_texts_and_no_scores(plan: Callable[..., Plan]) -> None:
    made = plan(kept(samples={"prompts": 2}, checkpoints=["best"])).studies["s"]
    assert made.evaluation_files == made.compared_files == []
    ((file, rows),) = made.text_files.items()
    assert Path(file).name == "samples-tinyworld-test@best.json"
    assert rows == "results/data/tinyworld/rows/test.parquet"


def test_summaries_of_compared_models_are_texts_too(plan: Callable[..., Plan]) -> None:
    train = {"steps": 100, "batch": 8, "learning_rate": 1e-3, "keep_steps": [50]}
    lengths = {"source_length": 128, "target_length": 40}
    made = plan(
        study(
            datasets=["tinyworld-dialogues"],
            models=["bart-1m"],
            train=train | lengths,
            evaluate={"rouge": {}, "checkpoints": ["best", "kept"]},
        )
    ).studies["s"]
    assert names_of(list(made.text_files)) == ["rouge-tinyworld-dialogues-test@best"]
    assert len(made.evaluation_files) == 2


def test_an_hour_of_a_device_has_a_price_where_the_configuration_gives_one(plan: Callable[..., Plan]) -> None:
    prices = plan(study(), prices={"currency": "EUR", "cuda": 2.5}).config.prices
    assert prices is not None
    assert (prices.hour("cuda"), prices.hour("cpu")) == (2.5, None)
    assert plan(study()).config.prices is None


def test_emissions_are_of_the_world_s_grid_of_another_or_not_told(plan: Callable[..., Plan]) -> None:
    world = plan(study()).config.energy.grid
    assert world is not None
    assert (world.grams_per_kwh, "2024" in world.source) == (473, True)
    grid = {"grams_per_kwh": 21.3, "source": "RTE 2024"}
    energy = plan(study(), energy={"grid": grid, "pue": 1.5}).config.energy
    assert energy.grid is not None
    assert (energy.grid.grams_per_kwh, energy.pue, energy.watts_per_core) == (21.3, 1.5, 12)
    assert [plan(study(), energy={"grid": each}).config.energy.grid for each in (None, "none")] == [None, None]
    assert plan(study(), energy=None).config.energy.grid == world
