"""The studies that are modelled on others' work have the values that these state."""

from pathlib import Path
from typing import Any

import pytest

from trainyard.config.study import Published
from trainyard.plan.configuration import Plan, make_plan

CONFIG = Path(__file__).resolve().parents[2] / "config"

COMPOSER = "mosaicml/composer, composer/yamls/models/gpt2_{52m,83m,125m}.yaml"
HOMEWORK = "Morris88826/CSCE-689-HW2, configs/config.yaml and train.py; weight decay as its report states it"
OPT_DEMO = "hpcaitech/ColossalAI, examples/language/opt, run_demo.sh, args.py and opt_train_demo.py"
OPT_BENCHMARK = "hpcaitech/ColossalAI, examples/language/opt, run_benchmark.sh and opt_benchmark.py"
BART = "linydub/azureml-greenai-txtsum, examples/jobs/deepspeed-job.yml and src/configs/ds-zero2.json"
T5_LARGE = "linydub/azureml-greenai-txtsum, model card of t5-large-samsum-deepspeed"
T5_3B = "linydub/azureml-greenai-txtsum, model card of t5-3b-samsum-deepspeed"

composer = {
    "dataset": "openwebtext",
    "seed": 17,
    "train.batch_tokens": 512 * 1024,
    "train.sequence_length": 1024,
    "train.weight_decay": 0.0,
    "train.betas": [0.9, 0.999],
    "train.epsilon": 1e-8,
    "train.dropout": 0.1,
    "train.max_grad_norm": 1.0,
    "train.decay": "cosine",
    "train.final_fraction": 0.0,
}
homework = {
    "dataset": "fineweb-10b",
    "precision": "bf16",
    "train.batch_tokens": 524_288,
    "train.sequence_length": 1024,
    "train.micro_batch": 8,
    "train.learning_rate": 1.2e-3,
    "train.warmup_steps": 715,
    "train.warmup_start": 0.1,
    "train.decay": "cosine",
    "train.final_fraction": 0.1,
    "train.weight_decay": 0.1,
    "train.betas": [0.9, 0.95],
    "train.epsilon": 1e-8,
    "train.max_grad_norm": 1.0,
    "train.compile": True,
    "train.validate_every": 250,
    "train.validation_tokens": 20 * 8 * 1024,
}
opt_demo = {
    "dataset": "netflix-shows",
    "precision": "fp16",
    "seed": 42,
    "train.epochs": 10,
    "train.initial": "pretrained",
    "train.warmup_ratio": 0.1,
    "train.decay": "linear",
    "train.weight_decay": 0.01,
    "train.betas": [0.9, 0.999],
    "train.max_grad_norm": None,
    "train.activation_checkpointing": True,
}
samsum = {
    "dataset": "samsum",
    "processes": 8,
    "seed": 1,
    "train.epochs": 3,
    "train.source_length": 512,
    "train.target_length": 90,
    "train.initial": "pretrained",
    "train.warmup_steps": None,
    "train.warmup_ratio": None,
    "train.decay": "linear",
    "train.betas": [0.9, 0.999],
    "train.max_grad_norm": 1.0,
}
LAST = ["last"]  # what their evaluations are of: --save_strategy no

# study, words of the names of its runs, their values, where these are stated
RECIPES: list[tuple[str, tuple[str, ...], dict[str, Any], str]] = [
    (
        "gpt2-family",
        (f"_{model}_ddp-x8_bf16_seed",),
        {**composer, "train.learning_rate": rate, "train.steps": steps, "train.warmup_steps": warmup},
        COMPOSER,
    )
    for model, rate, steps, warmup in (
        ("gpt2-52m", 1.5e-3, 9_000, 90),
        ("gpt2-83m", 1e-3, 11_000, 110),
        ("gpt2-124m", 6e-4, 14_000, 140),
    )
]
RECIPES += [
    ("gpt2-fineweb", ("fineweb-10b_",), homework, HOMEWORK),
    ("gpt2-fineweb-1gpu", ("fineweb-10b_",), {**homework, "train.micro_batch": 32}, HOMEWORK),
    # 5e-5 for each of its GPUs, 16 sequences on each
    (
        "opt-plugins",
        ("netflix-shows_", "x4_fp16_seed"),
        {**opt_demo, "train.learning_rate": 4 * 5e-5, "train.batch": 4 * 16},
        OPT_DEMO,
    ),
    ("opt-plugins", ("x4_fp16_batch-32",), {**opt_demo, "train.batch": 4 * 32}, OPT_DEMO),
    ("opt-plugins", ("low-level-zero",), {"train.initial_loss_scale": 2**5}, OPT_DEMO),
    ("opt-plugins", ("gemini",), {"train.initial_loss_scale": 2**5}, OPT_DEMO),
    ("opt-plugins", ("torch-ddp-fp16",), {"train.initial_loss_scale": 2**16}, OPT_DEMO),
    (
        "opt-plugins",
        ("hybrid",),
        {"train.initial_loss_scale": 1, "parallel.tensor": 2, "parallel.pipeline": 2},
        OPT_DEMO,
    ),
    (
        "opt-plugins-t4",
        ("netflix-shows_", "ddp"),
        {**opt_demo, "train.learning_rate": 5e-5, "train.batch": 16},
        OPT_DEMO,
    ),
    (
        "summarisation",
        ("samsum_bart-large", "_fp16_seed1"),
        {
            **samsum,
            "precision": "fp16",
            "train.batch": 8 * 16,
            "train.learning_rate": 5e-5,
            "train.weight_decay": 0.1,
            # ours by default, and more than the model has
            "parallel.options.reduce_bucket": None,
            "parallel.options.allgather_bucket": None,
        },
        BART,
    ),
    (
        "summarisation",
        ("samsum_t5-large",),
        {
            **samsum,
            "train.batch": 64,
            "train.micro_batch": 8,
            "train.learning_rate": 1e-4,
            "train.weight_decay": 0.1,
            "parallel.options.level": 2,
            "parallel.options.reduce_bucket": 1_300_000_000,
            "parallel.options.allgather_bucket": 1_300_000_000,
        },
        T5_LARGE,
    ),
    (
        "summarisation",
        ("samsum_t5-3b",),
        {
            **samsum,
            "train.batch": 16,
            "train.micro_batch": 2,
            "train.learning_rate": 3e-5,
            "train.weight_decay": 0.0,
            "parallel.options.level": 2,
            "parallel.options.reduce_bucket": 1_000_000_000,
            "parallel.options.allgather_bucket": 1_000_000_000,
        },
        T5_3B,
    ),
]
BENCHMARK = {
    "torch-ddp": {"train.initial_loss_scale": 2**16},
    "torch-ddp-fp16": {"train.initial_loss_scale": 2**16},
    "low-level-zero-1": {"train.initial_loss_scale": 2**5, "parallel.options.level": 1},
    "gemini-optimizer-offload": {
        "train.initial_loss_scale": 2**5,
        "parallel.options.placement": None,
        "parallel.options.offload_optimizer_fraction": 1.0,
        "parallel.options.offload_parameters_fraction": None,
    },
}
"""The plugins of the OPT benchmark by their settings' names here; its LowLevelZero has the plugin's default level."""

PUBLISHED = {
    ("gpt2-52m", "validation_loss"): 3.43,
    ("gpt2-83m", "validation_loss"): 3.28,
    ("gpt2-124m", "validation_loss"): 3.18,
    ("gpt2-52m", "perplexity_token"): 30.88,
    ("gpt2-83m", "perplexity_token"): 26.57,
    ("gpt2-124m", "perplexity_token"): 24.04,
    ("GPT-2 124M by OpenAI", "validation_loss"): 3.12,
    ("gpt2-modern-124m", "hellaswag_acc_norm"): 30.78,
    ("gpt2-modern-350m", "hellaswag_acc_norm"): 33.52,
    ("gpt2-124m", "hellaswag_acc_norm"): (31.14, 29.55),
    ("llm.c GPT-2 124M, 10B tokens", "hellaswag_acc_norm"): 29.9,
    ("GPT-3 124M", "hellaswag_acc_norm"): 33.7,
    **{
        ("bart-large", name): value
        for name, value in (
            ("rouge1", 53.43),
            ("rouge2", 28.74),
            ("rougeL", 44.18),
            ("rougeLsum", 49.19),
            ("samples_per_second", 167.8),
            ("generation_samples_per_second", 31.5),
            ("kwh", 0.0999),
        )
    },
    **{
        ("t5-large on zero2-buckets-1.3e9", name): value
        for name, value in (
            ("rouge1", 51.67),
            ("rouge2", 26.54),
            ("rougeL", 42.97),
            ("rougeLsum", 47.41),
            ("samples_per_second", 85.8),
            ("generation_samples_per_second", 12.9),
            ("kwh", 0.1464),
        )
    },
    **{
        ("t5-3b on zero2-buckets-1e9", name): value
        for name, value in (
            ("rouge1", 53.66),
            ("rouge2", 29.02),
            ("rougeL", 45.13),
            ("rougeLsum", 49.17),
            ("samples_per_second", 24.0),
            ("generation_samples_per_second", 4.9),
            ("kwh", 0.5982),
        )
    },
    ("opt-125m on torch-ddp", "samples_per_second"): 2.593,
    ("opt-125m on torch-ddp", "peak_memory_gib"): 8.38,
    ("opt-125m on torch-ddp-fp16", "samples_per_second"): 5.707,
    ("opt-125m on torch-ddp-fp16", "peak_memory_gib"): 7.11,
    ("opt-125m on low-level-zero-1", "samples_per_second"): 6.574,
    ("opt-125m on low-level-zero-1", "peak_memory_gib"): 4.90,
    ("opt-125m on gemini-optimizer-offload", "samples_per_second"): 6.292,
    ("opt-125m on gemini-optimizer-offload", "peak_memory_gib"): 3.51,
}
"""What the same sources state, and karpathy's llm.c and nanoGPT."""


@pytest.fixture(scope="module")
def sourced() -> Plan:
    studies = "gpt2-family,gpt2-fineweb,gpt2-fineweb-1gpu,opt-plugins,opt-plugins-t4,summarisation"
    return make_plan({"studies": studies, "device": "cuda"}, CONFIG)


def value_at(specification: dict[str, Any], key: str) -> Any:
    found: Any = specification
    for word in key.split("."):
        found = found.get(word)
    return found


@pytest.mark.parametrize(("study", "words", "expected", "source"), RECIPES)
def test_a_recipe_has_the_values_of_its_source(sourced: Plan, study: str, words: Any, expected: Any, source: str):
    runs = [run for run in sourced.studies[study].trainings if all(word in run.name for word in words)]
    assert runs
    for run in runs:
        assert {key: value_at(run.specification, key) for key in expected} == expected, (run.name, source)


def test_what_its_source_generates_and_scores_is_what_summarisation_does(sourced: Plan):
    for grid in sourced.studies["summarisation"].study.grids[:3]:
        assert grid.evaluate is not None
        rouge = grid.evaluate.rouge
        assert rouge is not None
        assert (rouge.beams, rouge.max_length, rouge.min_length, rouge.no_repeat_ngram) == (6, 62, 11, 3), BART
        assert grid.evaluate.checkpoints == LAST, BART


@pytest.mark.parametrize("study", ["opt-plugins", "opt-plugins-t4"])
@pytest.mark.parametrize("parallel", BENCHMARK)
def test_the_cells_of_the_opt_benchmark_are_measured_as_it_measures_them(sourced: Plan, study: str, parallel: str):
    found = [
        cell.specification
        for cell in sourced.studies[study].cells.values()
        if cell.specification["parallel"]["name"] == parallel and cell.specification["kind"] == "cell"
    ]
    sizes = {(cell["processes"], cell["batch"], cell["sequence_length"], cell["steps"]) for cell in found}
    grid = {(processes, batch, 1024, 20) for processes in (1, 4) for batch in (8, 32, 128)}
    assert sizes == (grid if study == "opt-plugins" else {(1, 8, 1024, 20)}), OPT_BENCHMARK
    for cell in found:
        assert cell["train"]["activation_checkpointing"], OPT_BENCHMARK
        assert {key: value_at(cell, key) for key in BENCHMARK[parallel]} == BENCHMARK[parallel], OPT_BENCHMARK


def test_published_figures_are_those_of_their_sources(sourced: Plan):
    found: dict[tuple[str, str], Any] = {}
    for made in sourced.studies.values():
        for entry in made.study.published:
            place = f"{entry.model} on {entry.parallel}" if entry.parallel else entry.model
            for figure, value in entry.values.items():
                before = found.get((place, figure), value)
                found[place, figure] = value if before == value else (before, value)
    assert found == PUBLISHED


@pytest.mark.parametrize("study", ["opt-plugins", "opt-plugins-t4"])
def test_each_published_measurement_stands_beside_a_cell_that_is_measured_here(sourced: Plan, study: str):
    cells = [
        cell.specification | {key: cell.specification[key]["name"] for key in ("model", "parallel")}
        for cell in sourced.studies[study].cells.values()
    ]
    published = [entry for entry in sourced.studies[study].study.published if entry.cell]
    assert len(published) == 4
    for entry in published:
        assert entry.cell is not None
        place = {"model": entry.model, "parallel": entry.parallel, **entry.cell.model_dump()}
        assert any({key: cell.get(key, cell["train"].get(key)) for key in place} == place for cell in cells)


def test_others_measurements_are_cells_with_a_setting_and_figures_of_speed_and_memory():
    cell = {"processes": 1, "precision": "fp32", "batch": 8, "sequence_length": 64}
    entry = {"model": "m", "cell": cell, "protocol": "p", "source": "s"}
    with pytest.raises(ValueError, match="parallel: a measured cell has a parallel setting; name it"):
        Published.model_validate(entry | {"values": {"samples_per_second": 1}})
    with pytest.raises(ValueError, match="values: rouge1 is of a run, not of a measured cell"):
        Published.model_validate(entry | {"parallel": "ddp", "values": {"rouge1": 1}})


def test_the_familys_rates_are_a_sweep(sourced: Plan) -> None:
    (sweep,) = sourced.studies["gpt2-family"].sweeps
    assert sweep.setting == "learning_rate"
    assert sorted(sweep.values) == [7.5e-4, 1.5e-3, 3e-3]
