"""Snakemake itself killed at chosen moments, and called again; two of it on one folder; faults that are rows."""

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from repository import TRAIN, Repository

from processes import AT_ONCE, assert_gone, below, wait_for
from trainyard.core.files import list_files, read_json, read_json_lines, sha256_file

pytestmark = pytest.mark.slow

GRID = {"datasets": ["tinyworld"], "models": ["gpt2-tiny"]}
LONG = {**TRAIN, "steps": 80, "checkpoint_every": 10, "validate_every": 20, "keep_steps": [30, 50, 70], "dropout": 0.1}
# of one process: test_kills.py has those that torchrun starts, and kills the job above them
RUN = "tinyworld_gpt2-tiny_single-x1_fp32_seed1"
EVALUATION = "perplexity-tinyworld-test@last"
STUDY = {
    "title": "Long enough to be killed",
    "question": "Does it continue?",
    "grids": [{**GRID, "train": LONG, "evaluate": {"perplexity": {"split": "test", "checkpoints": ["last"]}}}],
}


def target(study: str) -> str:
    return f"results/{study}/{RUN}/evaluate/{EVALUATION}.json"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The repository, in a folder with an odd name, after an undisturbed run and its evaluation."""
    made = Repository(tmp_path_factory.mktemp("repository") / "Übung macht den Meister")
    # an evaluation that lasts longer than the half second after which it sees that Snakemake is gone
    catalogue = made.folder / "config" / "datasets.yaml"
    catalogue.write_text(catalogue.read_text().replace("test: 200}", "test: 1000}"))
    for name in ("whole", "killed"):
        made.write_study(name, STUDY)
    made.snakemake("--config", "studies=whole", "--", target("whole"))
    return made


# what is half written then, or is there for the first time
MOMENTS = {
    "step": "work/killed/*/*/metrics.jsonl",
    "checkpoint": "work/killed/*/*/checkpoints/.step-*",
    "export": "work/killed/*/*/models/.step-*",
    "evaluation": "work/killed/*/evaluate/*/*",
}


def new(folder: Path, sign: str, before: set[Path]) -> set[Path]:
    return set(folder.glob(sign)) - before


def hold_at(moment: str, process: subprocess.Popen[bytes], comes: Callable[[], object]) -> list[psutil.Process]:
    """Stop Snakemake and all below it in the middle of a moment, not where it was just over; what lives below it."""

    def held() -> list[psutil.Process]:
        if not comes():
            return []
        found = [psutil.Process(process.pid), *below(process)]
        send(found, signal.SIGSTOP)
        if comes():
            return found[1:]
        send(found, signal.SIGCONT)
        return []

    return wait_for(held, 180, f"the {moment}", process, every=AT_ONCE)


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def curve(folder: Path) -> list[tuple]:
    keys = ("step", "tokens", "loss", "gradient_norm", "learning_rate", "validation_loss")
    return [tuple(row.get(key) for key in keys) for row in read_json_lines(folder / "metrics.jsonl")]


def models(folder: Path) -> dict[str, str]:
    """The hash of each model's file; cards and records name the study."""
    named = (file for file in list_files(folder / "models") if file.name not in ("README.md", "trainyard.json"))
    return {str(file.relative_to(folder)): sha256_file(file) for file in named}


def figures(folder: Path) -> dict[str, Any]:
    found = read_json(folder / "evaluate" / f"{EVALUATION}.json")
    return {key: found[key] for key in ("n", "values", "settings", "protocol")}


def test_killed_at_every_moment_it_ends_the_same_and_a_second_one_is_refused_meanwhile(
    repository: Repository, record_property: Callable[[str, object], None]
) -> None:
    asked = ("--config", "studies=killed", "--", target("killed"))
    for moment, sign in MOMENTS.items():
        comes = partial(new, repository.folder, sign, set(repository.folder.glob(sign)))
        with repository.start(*asked) as process:
            held = hold_at(moment, process, comes)
            if moment == "step":
                second = repository.snakemake(*asked, check=False)
                assert second.returncode == 1
                assert "Directory cannot be locked. Please make sure that no other Snakemake" in second.stderr
                refused = repository.unlock()
                assert refused.returncode == 1
                assert refused.stderr == (
                    f"Snakemake is already running in this folder (process {process.pid}); wait for it or stop it.\n"
                )
            process.kill()
            send(held, signal.SIGCONT)
        assert_gone(held)
        assert not (repository.folder / target("killed")).exists(), "the evaluation had ended"
        unlocked = repository.unlock()
        assert (unlocked.returncode, unlocked.stderr) == (0, "The last run was killed: removing its lock.\n")
    repository.snakemake(*asked)
    whole, killed = (repository.folder / "results" / name / RUN for name in ("whole", "killed"))
    assert read_json(killed / "summary.json")["outcome"] == "finished"
    assert curve(killed) == curve(whole)
    assert models(killed) == models(whole)
    assert figures(killed) == figures(whole)
    items = [pq.read_table(folder / "evaluate" / f"{EVALUATION}.parquet") for folder in (killed, whole)]
    assert items[0].equals(items[1])
    record_property("faults injected", len(MOMENTS) + 1)
    record_property("kills", len(MOMENTS))
    record_property("runs recovered", 1)


def test_a_loss_that_is_no_number_is_a_row_and_the_others_go_on(
    repository: Repository, record_property: Callable[[str, object], None]
) -> None:
    hot = {"hot": {"learning_rate": 1e30, "warmup_steps": 0, "max_grad_norm": None}, "base": {}}
    grid = {**GRID, "train": TRAIN, "recipes": hot}
    grid["evaluate"] = {"perplexity": {"split": "test", "limit": 5}}
    repository.write_study("hot", {"title": "t", "question": "q", "grids": [grid]})
    # with a table of the report, which tests/report makes whole of runs that diverged
    repository.snakemake("--config", "studies=hot", "--", "results/hot/report/comparison.html")
    outcomes = {
        "hot" in file.parent.name: read_json(file)["outcome"]
        for file in repository.folder.glob("results/hot/*/summary.json")
    }
    assert outcomes == {True: "diverged", False: "finished"}
    (result,) = repository.folder.glob("results/hot/*hot*/evaluate/*.json")
    assert read_json(result)["values"] is None
    assert read_json(result)["reason"].startswith("diverged: the ")
    assert "diverged" in (repository.folder / "results/hot/report/comparison.csv").read_text()
    record_property("faults injected", 1)


def test_a_setting_whose_extension_cannot_be_built_here_is_a_row_that_says_so(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setitem(repository.variables, "TORCH_EXTENSIONS_DIR", str(repository.folder / "extensions"))
    grid = {**GRID, "parallel": ["zero3-infinity"], "processes": [2], "train": TRAIN}
    repository.write_study("swapped", {"title": "t", "question": "q", "grids": [grid]})
    repository.snakemake("--config", "studies=swapped", "--", "results/swapped/report/comparison.html")
    (summary,) = map(read_json, repository.folder.glob("results/swapped/*/summary.json"))
    assert summary["outcome"] == "unsupported"
    assert "which torch can't link in a path with spaces" in summary["reason"]
    assert "Übung macht den Meister" in summary["reason"]
    record_property("faults injected", 1)
