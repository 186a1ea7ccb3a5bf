"""A study that is killed, and whose training code changes before it is called again."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from changes import commit, python
from repository import TRAIN, Repository

from processes import AT_ONCE, assert_gone, below, wait_for
from trainyard.core.files import read_json

pytestmark = pytest.mark.slow

RUN = "tinyworld_gpt2-tiny_single-x1_fp32_seed1"
EVERY = 10
GRID = {
    "datasets": ["tinyworld"],
    "models": ["gpt2-tiny"],
    "train": {**TRAIN, "steps": 80, "checkpoint_every": EVERY, "validate_every": 40, "keep_steps": []},
}
Updated = tuple[Repository, int, tuple[str, str], str, int]
STUDY = {"title": "Updated", "question": "Does it go on?", "grids": [GRID]}
CHOSEN = ("--config", "studies=updated")


def kill_when(repository: Repository, comes: Callable[[], object]) -> None:
    """Start the study, and kill Snakemake when something has come; all that it started ends with it."""
    with repository.start(*CHOSEN) as process:
        wait_for(comes, 300, "the moment to kill it", process, every=AT_ONCE)
        family = below(process)
        process.kill()
    assert_gone(family)
    assert repository.unlock().returncode == 0


@pytest.fixture(scope="module")
def updated(copy_finished: Callable[[Path], Repository], tmp_path_factory: pytest.TempPathFactory) -> Updated:
    """The study after two updates, each with a start that is killed: of what only starts training, then of its loop.

    With the step of its checkpoint, both commits, what was said, and the step that it resumed after in between.
    """
    made = copy_finished(tmp_path_factory.mktemp("updated") / "trainyard")
    made.write_study("updated", STUDY)
    before = commit(made.folder)
    folder, log = made.folder / "work/updated" / RUN, made.folder / f"logs/updated/train/{RUN}.log"
    kill_when(made, lambda: list(folder.glob("*/checkpoints/step-*")))
    progress = made.folder / "src/trainyard/launch/progress.py"
    progress.write_text(progress.read_text().replace("SECONDS = 15.0", "SECONDS = 14.0", 1))
    commit(made.folder)

    def resumed() -> list[str]:
        return re.findall(r"rank 0: resuming after step (\d+)", log.read_text(encoding="utf-8")) if log.exists() else []

    kill_when(made, resumed)
    between = int(resumed()[-1])
    (checkpoint, *_) = sorted(folder.glob("*/checkpoints/step-*"), reverse=True)
    loop = made.folder / "src/trainyard/train/loop.py"
    loop.write_text(loop.read_text().replace("import math\n", "import json as _changed\nimport math\n", 1))
    after = commit(made.folder)
    said: list[str] = []

    def says_so() -> bool:
        # the job before had the same log, which Snakemake takes away
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        said[:] = [line for line in lines if "begins at step 1" in line]
        return bool(said)

    kill_when(made, says_so)
    return made, int(checkpoint.name.removeprefix("step-")), (before, after), said[0], between


def test_an_update_of_what_changes_no_result_loses_no_step(updated: Updated) -> None:
    _, step, _, _, resumed_after = updated
    assert EVERY <= resumed_after <= step


def test_it_says_so_and_told_to_goes_on_and_every_page_says_so(updated: Updated) -> None:
    repository, step, (before, after), said, _ = updated
    log = repository.folder / f"logs/updated/train/{RUN}.log"
    assert re.search(
        rf"work/updated/{RUN}: begins at step 1, though there is a checkpoint after step {step}: commit {before[:12]} "
        rf"\(code \w{{8}}\) made it, and this is commit {after[:12]} \(code \w{{8}}\); .*--config resume=anyway",
        said,
    )

    done = repository.snakemake(*CHOSEN, "resume=anyway")
    assert f"work/updated/{RUN}: resumes after step {step}: " in done.stderr
    assert f"rank 0: resuming after step {step}\n" in log.read_text()

    words = f"trained by two versions of the code, from step {step + 1}"
    results = repository.folder / "results/updated"
    versions = read_json(results / RUN / "summary.json")["code_versions"]
    assert [(each["step"], each["commit"]) for each in versions] == [(1, before), (step + 1, after)]
    record = read_json(results / RUN / "provenance.json")
    assert record["code_versions"] == versions
    assert "resume=anyway" in record["command"]
    assert f": {words}." in (results / "report/comparison.html").read_text()
    assert words in (results / "report/environment.html").read_text()
    assert words in (results / RUN / "models/last/README.md").read_text()
    verified = python(repository.folder, "-m", "trainyard.provenance.verify", "updated")
    assert verified.returncode == 1
    lines = [line for line in verified.stdout.splitlines() if ": results/" in line]
    assert len(lines) == 1, verified.stdout
    assert lines[0].startswith(f"resumed: results/updated/{RUN}/")
    assert lines[0].partition(words)[2].startswith(f": commit {before[:12]} (code ")

    for config in ((), ("resume=anyway",)):
        again = repository.snakemake("-n", *CHOSEN, *config)
        assert "Nothing to be done" in again.stdout + again.stderr
    old = python(repository.folder, "-m", "trainyard.tools.work_folders")
    states = re.findall(rf"^work/updated/{RUN}/\w+ .*?(other code|finished) ", old.stdout, re.MULTILINE)
    assert sorted(states) == ["finished", "other code"]


def test_another_word_for_resume_is_refused_with_the_one_that_is_allowed(
    updated: Updated,
) -> None:
    done = updated[0].snakemake("-n", *CHOSEN, "resume=now", check=False)
    assert done.returncode != 0
    assert "--config: resume: 'now' is not allowed (allowed: anyway)" in done.stdout + done.stderr
