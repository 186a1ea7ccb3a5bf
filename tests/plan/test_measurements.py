"""From the grids of `measure` to cells and searches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan
from trainyard.plan.measurements import Cell

GRID = {"models": ["opt-tiny"], "parallel": ["ddp"], "batch": [8], "sequence_length": [128]}


def cells_of(plan: Callable[..., Plan], *grids: dict[str, Any], **config: Any) -> dict[str, Cell]:
    study = {"title": "t", "question": "q", "measure": [GRID | grid for grid in grids]}
    return plan(study, **config).studies["s"].cells


def test_a_grid_is_a_product_and_a_search_stands_beside_its_batches(plan: Callable[..., Plan]) -> None:
    found = cells_of(plan, {"processes": [1, 2], "batch": [1, 8], "search": {"largest": 64}})
    assert list(found) == [
        f"opt-tiny_ddp-x{processes}_fp32_{batch}_sequence128"
        for processes in (1, 2)
        for batch in ("batch1", "batch8", "largest-batch")
    ]
    search = found["opt-tiny_ddp-x2_fp32_largest-batch_sequence128"].specification
    assert (search["kind"], search["batch"], search["search"]) == (
        "search",
        None,
        {"smallest": 1, "largest": 64, "steps": 2},
    )
    assert found["opt-tiny_ddp-x1_fp32_batch8_sequence128"].specification["kind"] == "cell"


def test_a_setting_of_one_process_has_no_cells_in_several(plan: Callable[..., Plan]) -> None:
    found = cells_of(plan, {"parallel": ["single", "ddp"], "processes": [1, 2]})
    assert [name.split("_")[1] for name in found] == ["single-x1", "ddp-x1", "ddp-x2"]


@pytest.mark.parametrize(
    ("device", "limit"),
    [("cpu", {"kind": "host", "bytes": 250_000_000}), ("cuda", {"kind": "device", "bytes": 15_000_000_000})],
)
def test_a_limit_is_of_the_memory_where_the_cell_computes_and_is_named_alike(
    plan: Callable[..., Plan], device: str, limit: dict[str, Any]
) -> None:
    found = cells_of(plan, {}, {"host_memory_gb": 0.25, "device_memory_gb": 15}, device=device)
    free, limited = found.values()
    assert limited.name == "opt-tiny_ddp-x1_fp32_batch8_sequence128_host0.25gb_device15gb"
    assert (free.specification["memory_limit"], limited.specification["memory_limit"]) == (None, limit)


@pytest.mark.parametrize(
    ("grids", "said"),
    [
        ([{}, {}], "measure: the cell opt-tiny_ddp-x1_fp32_batch8_sequence128 appears in two grids"),
        ([{}, {"sequence_length": [512]}], "measure.1.sequence_length: 512, but opt-tiny reads 256 tokens at most"),
        ([{"parallel": ["dpp"]}], "measure.0.parallel: no parallel setting named 'dpp'; did you mean 'ddp'"),
        ([{"host_memory_gb": 0}], "measure.0.host_memory_gb"),
        ([{"search": {}}], "measure.0.search.largest"),
        ([{"train": {"clipp": 1}}], "measure.0.train.clipp"),
        ([{"train": {"batch": 4}}], "measure.0.train.batch: every cell has its own batch; remove the line"),
        (
            [{"activation_checkpointing": True}],
            "activation_checkpointing stands under train now: write train: {activation_checkpointing: true}",
        ),
        (
            [{"models": ["bart-tiny"], "train": {"target_length": 2000}}],
            "measure.0.train.target_length: 2000, but bart-tiny reads 256 tokens at most; make it smaller",
        ),
    ],
)
def test_a_mistake_in_a_grid_is_named_with_its_place(
    plan: Callable[..., Plan], grids: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(InputError) as error:
        cells_of(plan, *grids)
    assert said in str(error.value)


def test_a_cell_is_trained_as_the_runs_of_its_model_are(plan: Callable[..., Plan]) -> None:
    runs = {
        "datasets": ["tinyworld"],
        "models": ["opt-tiny"],
        "parallel": ["ddp", "zero2"],
        "train": {
            "steps": 9,
            "batch": 4,
            "sequence_length": 64,
            "learning_rate": 0.01,
            "max_grad_norm": None,
            "compile": True,
        },
        "overrides": {"parallel": {"zero2": {"initial_loss_scale": 32}}},
    }
    others = {**runs, "models": ["gpt2-tiny"], "train": {**runs["train"], "weight_decay": 0.5}}
    measured = GRID | {"parallel": ["ddp", "zero2"], "processes": [2], "train": {"dropout": 0.0}}
    study = {"title": "t", "question": "q", "grids": [others, runs], "measure": [measured]}
    made = plan(study).studies["s"]
    of_run = made.runs["tinyworld_opt-tiny_zero2-x1_fp32_seed1"].specification["train"]
    ddp, zero2 = (made.cells[f"opt-tiny_{name}-x2_fp32_batch8_sequence128_compiled"] for name in ("ddp", "zero2"))
    own = {"steps": 1, "batch": 16, "micro_batch": 8, "sequence_length": 128, "source_length": 128}
    own |= {"learning_rate": 1e-5, "dropout": 0.0}
    assert zero2.specification["train"] == of_run | own
    assert ddp.specification["train"]["initial_loss_scale"] == 2**16
    assert ddp.compiled


def test_a_cell_of_a_model_that_no_grid_has_is_trained_as_the_first_grid_is(plan: Callable[..., Plan]) -> None:
    train = {"steps": 9, "batch": 4, "sequence_length": 64, "learning_rate": 0.01, "weight_decay": 0.5}
    runs = {"datasets": ["tinyworld"], "models": ["gpt2-tiny"], "train": train}
    study = {"title": "t", "question": "q", "grids": [runs], "measure": [GRID]}
    (cell,) = plan(study).studies["s"].cells.values()
    assert cell.specification["train"]["weight_decay"] == 0.5


def test_pairs_are_measured_with_a_target_length_of_their_own(plan: Callable[..., Plan]) -> None:
    found = cells_of(plan, {"models": ["bart-tiny"], "train": {"target_length": 40}}, {})
    lengths = [
        tuple(cell.specification["train"][f"{side}_length"] for side in ("source", "target")) for cell in found.values()
    ]
    assert lengths == [(128, 40), (128, 90)]


def test_what_else_of_a_training_makes_a_difference_is_in_a_cells_name(plan: Callable[..., Plan]) -> None:
    trains = [{}, {"tf32": True}, {"freeze": ["embeddings", "blocks.0"]}, {"attention": {"window": 32}}]
    trains += [{"lora": {}}, {"lora": {"rank": 4, "targets": ["fc1", "fc2"], "dropout": 0.1}}]
    runs = {"datasets": ["tinyworld"], "models": ["opt-tiny"], "train": {"steps": 9, "batch": 4, "learning_rate": 0.01}}
    runs["train"]["sequence_length"] = 64
    measured = [GRID | {"parallel": ["single"], "train": train} for train in trains]
    study = {"title": "t", "question": "q", "grids": [runs], "measure": measured}
    name = "opt-tiny_single-x1_fp32_batch8_sequence128"
    told = ["", "_tf32", "_frozen-embeddings-blocks.0", "_window32", "_lora8", "_lora4-fc1-fc2-dropout"]
    assert list(plan(study).studies["s"].cells) == [name + each for each in told]


def test_what_is_no_matter_of_a_step_s_cost_changes_no_cell(plan: Callable[..., Plan]) -> None:
    def cell(**more: Any) -> dict[str, Any]:
        train = {"steps": 9, "batch": 4, "sequence_length": 64, "learning_rate": 0.01, **more}
        runs = {"datasets": ["tinyworld"], "models": ["opt-tiny"], "train": train}
        (made,) = plan({"title": "t", "question": "q", "grids": [runs], "measure": [GRID]}).studies["s"].cells.values()
        return made.specification

    assert cell(learning_rate=0.02, warmup_steps=3, validate_every=3, decay="linear", steps=7) == cell()
    assert cell(patience=2, min_improvement=0.1) == cell()
    assert cell(max_grad_norm=None) != cell()


def test_the_first_launch_of_a_cell_is_profiled_and_a_search_is_made_once(plan: Callable[..., Plan]) -> None:
    found = cells_of(plan, {"search": {"largest": 64}, "launches": 4})
    cell = found["opt-tiny_ddp-x1_fp32_batch8_sequence128"]
    assert [Path(file).name for file in cell.launch_files] == [f"launch{number}.json" for number in (1, 2, 3, 4)]
    assert [cell.launch_specification(number)["profiled_steps"] for number in (1, 2)] == [3, 0]
    assert "launches" not in cell.specification  # one more measures no launch anew
    search = found["opt-tiny_ddp-x1_fp32_largest-batch_sequence128"]
    assert len(search.launch_files) == 1
    assert "profiled_steps" not in search.launch_specification(1)
