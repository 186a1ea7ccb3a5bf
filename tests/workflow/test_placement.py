"""GPUs and interpreters as Snakemake hands them out; the GPUs are pretended."""

import json
import sys
import venv
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from repository import MICRO, TRAIN, Repository

pytestmark = pytest.mark.slow

GRID = {"datasets": ["tinyworld"], "models": ["gpt2-tiny"], "train": TRAIN}
# in place of every script: it makes the outputs, and records when it took how many slots
PRETENCE = """
import time
from pathlib import Path
slots = snakemake.resources.get("slots", 0)
began = time.monotonic()
time.sleep(1.5 * (slots > 0))
for path in map(Path, snakemake.output):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch() if path.suffix else path.mkdir()
with open("taken", "a") as file:
    file.write(f"{began} {slots}\\n{time.monotonic()} -{slots}\\n")
"""


@pytest.fixture
def pretended(tmp_path: Path) -> Callable[[int], Repository]:
    """A repository whose machine has so many GPUs, and whose jobs do nothing."""

    def make(count: int) -> Repository:
        made = Repository(tmp_path / "trainyard")
        for number in range(count):
            (tmp_path / "driver" / f"0000:0{number}:00.0").mkdir(parents=True)
        module = made.folder / "src" / "trainyard" / "hardware" / "gpus.py"
        module.write_text(module.read_text().replace("/proc/driver/nvidia/gpus", str(tmp_path / "driver")))
        for script in (made.folder / "workflow" / "scripts").glob("*.py"):
            script.write_text(PRETENCE)
        made.write_study(
            "gpus",
            {"title": "t", "question": "q", "grids": [{**GRID, "seeds": [1, 2, 3, 4]}], "probes": MICRO["probes"]},
        )
        return made

    return make


def most_at_once(lines: list[str]) -> int:
    """The most slots that were taken at any time."""
    changes = sorted((float(when), int(count)) for when, count in map(str.split, lines))
    return max(accumulate(count for _, count in changes))


def test_jobs_fill_the_gpus_of_a_machine_and_no_more(
    pretended: Callable[[int], Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    repository = pretended(3)
    repository.snakemake("--cores", "8", "--config", "studies=gpus", "--until", "train", "probe")
    assert most_at_once((repository.folder / "taken").read_text().splitlines()) == 3


def environment(folder: Path) -> str:
    """The interpreter of another environment: it has our packages and one more, and records how it is started."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (packages / "pretend-1.0.dist-info").mkdir()
    (packages / "pretend-1.0.dist-info" / "METADATA").write_text("Name: pretend\nVersion: 1.0\n")
    (packages / "sitecustomize.py").write_text(
        f"import sys\nwith open({str(folder / 'started')!r}, 'a') as file:\n    print(*sys.orig_argv, file=file)\n"
    )
    return str(folder / "bin" / "python")


def test_a_row_heals_when_its_framework_gets_an_interpreter_and_no_path_reruns_it(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write_study("other", {"title": "t", "question": "q", "grids": [{**GRID, "parallel": ["pretend"]}]})
    (repository.folder / "envs" / "pretend.yaml").write_text((repository.folder / "envs" / "train.yaml").read_text())
    run = "results/other/tinyworld_gpt2-tiny_pretend-x1_fp32_seed1"
    setting = "{title: Pretend, engine: single, one_process: true, precision: [fp32], packages: [pretend<2]}"
    entry = f"pretend: {setting}\n\nsingle:\n"

    def call(python: str | None, *arguments: str) -> str:
        named = "interpreters: {}" if python is None else f"interpreters: {{pretend: {python}}}"
        with (
            repository.edited("config/parallel.yaml", "single:\n", entry),
            repository.edited("config/config.yaml", "interpreters: {}", named),
        ):
            done = repository.snakemake(*arguments, "--config", "studies=other", "--", f"{run}/summary.json")
        summary = json.loads((repository.folder / run / "summary.json").read_text())
        return f"{summary['outcome']}: {summary['reason']}; {done.stdout + done.stderr}"

    assert call(None).startswith("unsupported: needs the package pretend, not installed here; ")
    assert call(environment(tmp_path / "first")).startswith("finished: None; ")
    started = (tmp_path / "first" / "started").read_text()
    assert "-m trainyard.launch.worker trainyard.train.worker" in started
    assert "Nothing to be done" in call(environment(tmp_path / "moved"), "-n")


def test_the_job_of_slurm_is_one_that_snakemake_submitted_and_not_the_users_allocation(tmp_path: Path) -> None:
    made = Repository(tmp_path / "trainyard")
    made.variables["SLURM_JOB_ID"] = "42"
    for script in (made.folder / "workflow" / "scripts").glob("*.py"):
        script.write_text(PRETENCE)
    train = made.folder / "workflow" / "scripts" / "train.py"
    own = "import sys\nsys.path.insert(0, 'src')\nfrom trainyard.core.job import Job\n"
    train.write_text(
        f"{own}{PRETENCE}\nPath('job').write_text(str(Job.from_snakemake(snakemake, __file__).slurm_job))\n"
    )
    made.write_study("one", {"title": "t", "question": "q", "grids": [GRID]})
    target = "results/one/tinyworld_gpt2-tiny_single-x1_fp32_seed1/summary.json"
    asked = ("--config", "studies=one", "device=cpu", "--", target)
    made.snakemake(*asked)
    assert (made.folder / "job").read_text() == "None"
    made.snakemake("--mode", "remote", "--force", "--nolock", *asked)  # as in the jobs that it submits
    assert (made.folder / "job").read_text() == "42"
