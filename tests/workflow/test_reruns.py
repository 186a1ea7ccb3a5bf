"""What reruns after which change: each row of docs/explanation/reruns.md, by dry runs."""

import copy
import os
import shutil
import time
from contextlib import ExitStack

import pytest
from repository import MICRO, Repository

pytestmark = pytest.mark.slow

GPT2 = "tinyworld_gpt2-tiny_single-x1_fp32_seed1"
MODERN = "tinyworld_gpt2-modern-tiny_single-x1_fp32_seed1"
BART = "tinyworld-dialogues_bart-tiny_single-x1_fp32_seed1"
PROBE = "probe_tinyworld_gpt2-tiny_{}_seed1"
REFERENCE, ZERO1, ZERO2 = (
    PROBE.format(name) for name in ("reference-x1_fp32_ranks2", "zero1-x2_fp32", "zero2-x2_fp32")
)


def trained(jobs: list[str]) -> set[str]:
    """The runs and probes among the jobs."""
    return {job.split()[1] for job in jobs if job.startswith(("Train ", "Probe "))}


def kinds(jobs: list[str]) -> set[str]:
    """The first words of the jobs' messages."""
    return {job.split()[0] for job in jobs}


def test_nothing_changed_nothing_runs(repository: Repository) -> None:
    assert repository.would_run() == []


def test_the_loop_reruns_every_run_and_probe(repository: Repository) -> None:
    with repository.edited("src/trainyard/train/loop.py", "import", "import json as _changed\nimport"):
        jobs = repository.would_run()
    assert trained(jobs) == {GPT2, MODERN, BART, REFERENCE, ZERO1, ZERO2}
    assert not kinds(jobs) & {"Download", "Tokenize", "Make", "Count", "Measure"}


def test_what_is_made_of_a_runs_steps_reruns_it(repository: Repository) -> None:
    file = "src/trainyard/train/summary.py"
    with repository.edited(file, "import statistics", "import json as _changed\nimport statistics"):
        assert trained(repository.would_run()) == {GPT2, MODERN, BART, REFERENCE, ZERO1, ZERO2}


def test_what_starts_processes_and_shows_their_progress_reruns_nothing(repository: Repository) -> None:
    launch = sorted((repository.folder / "src/trainyard/launch").glob("[!_]*.py"))
    files = [str(file.relative_to(repository.folder)) for file in launch]
    with ExitStack() as stack:
        for file in (*files, "src/trainyard/train/progress.py", "src/trainyard/train/resume.py"):
            stack.enter_context(repository.edited(file, "\nfrom ", "\nimport json as _changed\nfrom "))
        assert repository.would_run() == []


def test_a_model_file_reruns_its_own_runs(repository: Repository) -> None:
    with repository.edited(
        "src/trainyard/models/gpt2_modern.py", "import torch", "import json as _changed\nimport torch"
    ):
        jobs = repository.would_run()
    assert trained(jobs) == {MODERN}


def test_a_new_family_of_models_reruns_nothing(repository: Repository) -> None:
    added = [repository.folder / f"src/trainyard/{part}/novel.py" for part in ("models", "estimate/families")]
    for file in added:
        shutil.copy(file.with_name("llama.py"), file)
    jobs = repository.would_run()
    for file in added:
        file.unlink()
    assert jobs == []


def test_the_counts_of_a_family_rerun_its_own_runs(repository: Repository) -> None:
    file = "src/trainyard/estimate/families/gpt2_modern.py"
    with repository.edited(file, "from trainyard", "import json as _changed\nfrom trainyard"):
        jobs = repository.would_run()
    assert trained(jobs) == {MODERN}
    assert {"models_table", "scaling_table"} <= {job.rpartition(" ")[2] for job in jobs}


def test_the_loader_reruns_training_and_no_tokens(repository: Repository) -> None:
    with repository.edited("src/trainyard/data/loader.py", "import torch", "import json as _changed\nimport torch"):
        jobs = repository.would_run()
    assert trained(jobs) == {GPT2, MODERN, BART, REFERENCE, ZERO1, ZERO2}
    assert not kinds(jobs) & {"Download", "Tokenize", "Make", "Count"}


def test_an_engine_reruns_its_own_probes(repository: Repository) -> None:
    with repository.edited(
        "src/trainyard/parallel/pytorch/zero1.py", "import torch", "import json as _changed\nimport torch"
    ):
        jobs = repository.would_run()
    assert trained(jobs) == {ZERO1}
    assert "Evaluate" not in kinds(jobs)


def test_the_rouge_module_reruns_rouge_alone(repository: Repository) -> None:
    with repository.edited(
        "src/trainyard/evaluate/modules/rouge/rouge.py", "import evaluate", "import json as _changed\nimport evaluate"
    ):
        jobs = repository.would_run()
    assert trained(jobs) == set()
    assert [job for job in jobs if job.startswith("Evaluate")] == [
        f"Evaluate rouge-tinyworld-dialogues-test of {BART}, best"
    ]


def test_comments_and_docstrings_rerun_nothing(repository: Repository) -> None:
    with repository.edited("src/trainyard/train/loop.py", "import", "# a comment\nimport"):
        assert repository.would_run() == []


def test_one_models_learning_rate_reruns_its_run_and_what_hangs_on_it(repository: Repository) -> None:
    study = copy.deepcopy(MICRO)
    study["grids"][0]["overrides"] = {"models": {"gpt2-modern-tiny": {"learning_rate": 2e-3}}}
    jobs = repository.would_run_as(study)
    assert trained(jobs) == {MODERN}
    assert {job.split(" of ")[1].split(",")[0] for job in jobs if job.startswith("Evaluate")} == {MODERN}


def test_an_added_seed_runs_alone(repository: Repository) -> None:
    study = copy.deepcopy(MICRO)
    study["grids"][0]["seeds"] = [1, 2]
    jobs = repository.would_run_as(study)
    assert trained(jobs) == {GPT2.replace("seed1", "seed2"), MODERN.replace("seed1", "seed2")}


def test_what_finds_the_peak_measures_and_trains_nothing_anew(repository: Repository) -> None:
    file = "src/trainyard/hardware/device_peak.py"
    with repository.edited(file, "import torch", "import json as _changed\nimport torch"):
        jobs = repository.would_run()
    assert kinds(jobs) == {"Find", "Combine", "Draw", "Tabulate", "Write", "Check"}


def test_one_more_launch_is_measured_alone(repository: Repository) -> None:
    study = copy.deepcopy(MICRO)
    study["measure"][0]["launches"] = 3
    jobs = repository.would_run_as(study)
    assert [job.rpartition(" ")[2] for job in jobs if job.startswith("Measure")] == ["3"]
    assert trained(jobs) == set()


def test_a_touched_script_reruns_its_rule(repository: Repository) -> None:
    script = repository.folder / "workflow/scripts/parity.py"
    before = script.stat()
    script.touch()
    jobs = repository.would_run()
    os.utime(script, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len([job for job in jobs if job.startswith("Compare")]) == 2
    assert trained(jobs) == set()


def test_a_touched_file_reruns_nothing(repository: Repository) -> None:
    later = time.time() + 5
    for file in ("results/data/tinyworld/rows/train.parquet", f"results/micro/{GPT2}/metrics.jsonl"):
        os.utime(repository.folder / file, (later, later))
    assert repository.would_run() == []


def test_the_order_of_keys_reruns_nothing(repository: Repository) -> None:
    study = copy.deepcopy(MICRO)
    study["grids"][0]["train"] = dict(reversed(study["grids"][0]["train"].items()))
    jobs = repository.would_run_as(study)
    assert jobs == []


def test_the_mirror_reruns_nothing(repository: Repository) -> None:
    done = repository.snakemake("-n", "--config", "studies=micro", f"mirror={repository.folder}")
    assert "Nothing to be done" in done.stderr + done.stdout


def test_how_to_resume_reruns_nothing(repository: Repository) -> None:
    done = repository.snakemake("-n", "--config", "studies=micro", "resume=anyway")
    assert "Nothing to be done" in done.stderr + done.stdout


def test_prices_draw_quality_anew_and_no_more(repository: Repository) -> None:
    with repository.edited("config/config.yaml", "prices: null", "prices: {currency: EUR, cpu: 0.05}"):
        jobs = repository.would_run()
    assert {job.rpartition(" ")[2] for job in jobs if "report" in job} == {
        "quality_by_step",
        "quality_by_cost",
        "quality_table",
        "energy_table",
    }
    assert kinds(jobs) == {"Draw", "Tabulate", "Write"}


def test_watts_and_grid_tabulate_energy_anew_and_no_more(repository: Repository) -> None:
    with repository.edited("config/config.yaml", "energy: {}", "energy: {watts_per_core: 5}"):
        jobs = repository.would_run()
    assert {job.rpartition(" ")[2] for job in jobs if "report" in job} == {"comparison_table", "energy_table"}
    assert kinds(jobs) == {"Tabulate", "Write"}


def test_an_added_figure_draws_itself_and_the_overview(repository: Repository) -> None:
    entry = """FIGURES = [
    Figure(
        name="again",
        title="again",
        subcategory="Curves",
        module="curves",
        inputs={"runs": "trainings"},
        options={"axis": "step"},
    ),
"""
    with repository.edited("src/trainyard/plan/report.py", "FIGURES = [\n", entry):
        jobs = repository.would_run()
    assert {"Draw the report of micro: again", "Write the overview of micro"} <= set(jobs)
    assert kinds(jobs) == {"Draw", "Write", "Check"}
    assert len(jobs) == 3


def test_another_kept_step_trains_anew_and_another_evaluated_one_does_not(repository: Repository) -> None:
    study = copy.deepcopy(MICRO)
    study["grids"][0]["evaluate"]["perplexity"]["checkpoints"] = ["best", "kept"]
    jobs = repository.would_run_as(study)
    assert trained(jobs) == set()
    assert len([job for job in jobs if job.startswith("Evaluate perplexity")]) == 2
    study["grids"][0]["overrides"] = {"models": {"gpt2-modern-tiny": {"keep_steps": [2, 4]}}}
    assert trained(repository.would_run_as(study)) == {MODERN}


def test_another_size_of_n_grams_looks_anew_and_scores_nothing(repository: Repository) -> None:
    study = copy.deepcopy(MICRO)
    study["grids"][0]["evaluate"]["contamination"] = {"ngram": 8}
    jobs = repository.would_run_as(study)
    assert {job for job in jobs if "report" not in job} == {
        "Look for tinyworld, split test, in the text of tinyworld",
        "Look for tinyworld-endings, split validation, in the text of tinyworld",
        "Write the overview of micro",
    }
    assert {job.rpartition(" ")[2] for job in jobs if "report" in job} == {
        "comparison_table",
        "contamination_table",
        "sources_table",
    }
