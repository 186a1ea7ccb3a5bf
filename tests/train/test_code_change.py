"""A run that was interrupted before its code changed: it says what it could go on from, and goes on if told to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kills import kill_with_checkpoints, ranks, said_by, same
from trainings import make_specification

from processes import AT_ONCE, wait_for
from trainyard.core.code_versions import CodeVersion
from trainyard.core.errors import InputError
from trainyard.core.files import read_json, sha256_file, write_json
from trainyard.train.resume import choose_start
from trainyard.train.work_folder import WorkFolder

BEFORE, AFTER, LATER = "before--" * 2, "after---" * 2, "later---" * 2


@pytest.fixture
def interrupted(baseline, new_job):
    """The undisturbed run's twin, killed after a checkpoint, in code that is about to change."""
    job = replace(new_job("job", baseline.specification), code=BEFORE)
    kill_with_checkpoints(job, "rank", count=1)
    return job


def left_at(job):
    """The newest checkpoint that the killed job left."""
    return max(job.root.glob("work/*/*/*/checkpoints/step-*"), key=step_of)


def step_of(checkpoint):
    return int(checkpoint.name.removeprefix("step-"))


def versions(job):
    return [(each["code"], each["step"]) for each in read_json(job.output / "summary.json")["code_versions"]]


def test_under_other_code_it_names_the_checkpoint_and_begins_at_step_1(interrupted, baseline, capfd):
    checkpoint = left_at(interrupted)
    job = replace(interrupted, code=AFTER, log_name="after.log")
    job.run()
    (said,) = (line for line in capfd.readouterr().err.splitlines() if "begins at step 1" in line)
    assert f"work/study/run: begins at step 1, though there is a checkpoint after step {step_of(checkpoint)}: " in said
    assert f"(code {BEFORE[:8]}) made it, and this is " in said
    assert f"(code {AFTER[:8]}); to go on from it, end this and call again with --config resume=anyway" in said
    assert "resuming after" not in job.log.read_text()
    same(job, baseline)
    assert versions(job) == [(AFTER, 1)]
    assert checkpoint.is_dir()


def test_told_to_it_goes_on_and_its_results_name_every_version(interrupted, baseline, capfd):
    first = step_of(left_at(interrupted))
    second = replace(interrupted, code=AFTER, log_name="after.log", resume_anyway=True)
    with second.start() as process:
        wait_for(lambda: step_of(left_at(second)) > first, 120, "a further checkpoint", process, every=AT_ONCE)
        ranks(process)[0].kill()
        said_by(process)
    assert f"resuming after step {first}" in second.log.read_text()
    step = step_of(left_at(interrupted))
    assert step > first
    third = replace(second, code=LATER, log_name="later.log")
    third.run()
    assert f"work/study/run: resumes after step {step}: " in capfd.readouterr().err
    same(third, baseline)
    assert versions(third) == [(BEFORE, 1), (AFTER, first + 1), (LATER, step + 1)]
    card = (third.output / "models" / "last" / "README.md").read_text()
    assert f"It was trained by 3 versions of the code, from steps {first + 1} and {step + 1}." in card


def test_a_checkpoint_of_another_form_is_an_error_after_which_the_run_can_begin_anew(interrupted, baseline):
    checkpoint = left_at(interrupted)
    (state,) = checkpoint.glob("engine/*")
    torch.save({"weights": {}}, state)
    write_json(
        checkpoint / "hashes.json", read_json(checkpoint / "hashes.json") | {f"engine/{state.name}": sha256_file(state)}
    )
    job = replace(interrupted, code=AFTER, resume_anyway=True, log_name="after.log")
    with pytest.raises(InputError, match=f"can't read the checkpoint after step {step_of(checkpoint)} that ") as error:
        job.run()
    assert "without resume=anyway the run begins at step 1, and nothing is lost" in str(error.value)
    anew = replace(job, resume_anyway=False, log_name="anew.log")
    anew.run()
    assert "resuming after" not in anew.log.read_text()
    same(anew, baseline)
    assert versions(anew) == [(AFTER, 1)]
    assert checkpoint.is_dir()


# where a run begins, by what its folders hold


def made_by(code: str) -> CodeVersion:
    return CodeVersion(1, code, None, None, {"torch": "2.5.1"})


INPUTS = {"train": "1234"}


class Folders:
    """The working folders of one run, by the code that made them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.specification = make_specification(root / "data")

    def make(self, code: str, *steps: int, inputs: dict[str, str] = INPUTS, **train: object) -> WorkFolder:
        folder = WorkFolder(self.root / "study" / "run" / code)
        folder.path.mkdir(parents=True)
        specification = self.specification | {"train": self.specification["train"] | train}
        write_json(folder.specification, specification)
        folder.write_origin(inputs, [made_by(code)])
        folder.metrics.write_text(
            "".join(json.dumps({"step": step}) + "\n" for step in range(1, max(steps, default=0) + 1))
        )
        for step in steps:
            (folder.checkpoints / f"step-{step:06d}").mkdir(parents=True)
            (folder.checkpoints / f"step-{step:06d}" / "made-by").write_text(code)
        return folder


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def begins(folder: WorkFolder, anyway: bool = True) -> list[tuple[str, int]]:
    """The versions that train the run of a folder, with the first step of each."""
    choose_start(folder, INPUTS, made_by(folder.path.name), anyway)
    return [(each.code, each.step) for each in folder.versions()]


def test_the_furthest_checkpoint_is_taken_whoever_made_it(folders, capsys):
    folders.make("a", 3, 6)
    folders.make("b", 9, 12)
    today = folders.make("c", 3)
    assert begins(today) == [("b", 1), ("c", 13)]
    assert sorted(path.read_text() for path in today.checkpoints.glob("*/made-by")) == ["b", "b"]
    assert "resumes after step 12" in capsys.readouterr().err


def test_its_own_checkpoint_goes_before_those_of_other_code_that_are_no_further(folders, capsys):
    folders.make("a", 3, 6)
    today = folders.make("b", 6)
    assert begins(today) == [("b", 1)]
    assert capsys.readouterr().err == ""


def test_its_own_checkpoint_is_gone_on_from_without_a_word_unless_told_otherwise(folders, capsys):
    folders.make("a", 9)
    today = folders.make("b", 3)
    assert begins(today, anyway=False) == [("b", 1)]
    assert today.saved_step() == 3
    assert capsys.readouterr().err == ""


def test_a_checkpoint_is_taken_over_with_every_file_that_its_hashes_are_of(folders):
    checkpoint = folders.make("a", 6).checkpoints / "step-000006"
    (checkpoint / ".hidden").write_text("listed")
    today = folders.make("b")
    begins(today)
    assert (today.checkpoints / checkpoint.name / ".hidden").read_text() == "listed"


def test_a_checkpoint_that_was_taken_over_and_not_gone_beyond_is_given_back_when_not_told_again(folders):
    folders.make("a", 6)
    today = folders.make("b")
    assert begins(today) == [("a", 1), ("b", 7)]
    assert begins(today, anyway=False) == [("b", 1)]
    assert today.saved_step() == 0


@pytest.mark.parametrize("differing", [{"inputs": {"train": "5678"}}, {"learning_rate": 1.0}])
def test_other_data_and_other_settings_are_another_run(folders, capsys, differing):
    folders.make("a", 6, **differing)
    assert begins(folders.make("b")) == [("b", 1)]
    assert capsys.readouterr().err == ""


def test_a_setting_that_the_other_code_did_not_know_counts_by_its_default(folders):
    folders.make("a", 6)
    assert begins(folders.make("b", warmup_start=0.0)) == [("a", 1), ("b", 7)]


def test_damaged_files_of_other_code_are_passed_over(folders):
    folders.make("a", 6).specification.write_text("{")
    assert begins(folders.make("b")) == [("b", 1)]
