import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from processes import assert_gone, below, wait_for
from trainyard.core.errors import InputError
from trainyard.hardware import gpus, tf32
from trainyard.launch import gpu_queue
from trainyard.launch.launch import LaunchError, launch
from trainyard.launch.process_tree import ancestors

HERE, SOURCE = Path(__file__).parent, Path(__file__).parents[2] / "src"
START = """
import sys
from contextlib import nullcontext
from pathlib import Path
from trainyard.launch.process_tree import end_with_snakemake
from trainyard.launch import launch
launch.SOURCE = "{source}:{here}"
with {around}:
    launch.launch(
        "{module}", ["sleep", sys.argv[1]], int(sys.argv[2]), 1, Path(sys.argv[1]) / "log", python=sys.argv[3]
    )
"""
# the shell is there while its program is, and continues after it
SHELL = ("bash", "-c", '"$@"; true', "bash")
# takes in those below it that lose their parent, as a user's systemd does
ADOPTER = """
import ctypes, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
subprocess.Popen(sys.argv[1:])
os.execvp("sleep", ["sleep", "120"])
"""
# starts a program that has no Python above it
ALONE = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid)"
LATE = """
import sys, time
from pathlib import Path
from trainyard.launch.process_tree import end_with_snakemake
folder = Path(sys.argv[1])
(folder / "started").touch()
while not (folder / "go").exists():
    time.sleep(0.05)
with end_with_snakemake():
    (folder / "went-on").touch()
"""


CALL = "import subprocess, sys; subprocess.run(sys.argv[1:])"


@pytest.fixture
def launcher(tmp_path):
    """Start a launcher of workers, below another program if there is one; give it and all its family."""
    started = []

    def start(processes, above=(), python=sys.executable, module="worker"):
        around = "end_with_snakemake()" if above else "nullcontext()"
        code = START.format(source=SOURCE, here=HERE, around=around, module=module)
        words = [*above, sys.executable, "-c", code, str(tmp_path), str(processes), python]
        top = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(SOURCE)})
        started.append(top)
        files = [tmp_path / f"pid-{rank}" for rank in range(processes)]
        for file in files:
            wait_for(lambda: file.exists() and file.read_text(), 60, file.name, top, tmp_path / "log")  # noqa: B023
        family = below(top)
        started.extend(family)
        return top, family, [psutil.Process(int(file.read_text())) for file in files]

    yield start
    for process in started:
        try:
            process.kill()
            process.wait()
        except psutil.NoSuchProcess:
            pass


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_nothing_outlives_a_launcher_that_is_killed(launcher, processes):
    top, family, ranks = launcher(processes)
    assert set(ranks) <= set(family)
    top.kill()
    assert_gone(family, 10)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_launcher_that_is_told_to_end(launcher, number):
    top, family, _ = launcher(1)
    top.send_signal(number)
    assert_gone(family, 10)
    assert top.wait(10) != 0


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_ranks_save_though_every_process_is_told_to_end_again_and_again_as_slurm_does(launcher, tmp_path, processes):
    top, family, _ = launcher(processes, module="saver")
    for _ in range(3):
        for process in [top, *family]:
            process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    assert_gone(family, 20)
    assert top.wait(10) != 0
    assert {path.name for path in tmp_path.glob("saved-*")} == {f"saved-{rank}" for rank in range(processes)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snakemake", "code_that_calls_snakemake.py"])
@pytest.mark.parametrize("shell", [(), SHELL], ids=["", "below-a-shell"])
def test_the_launcher_and_all_below_it_end_when_snakemake_is_killed(launcher, tmp_path, name, shell):
    (tmp_path / name).write_text(CALL)
    top, family, _ = launcher(2, above=[sys.executable, str(tmp_path / name), *shell])
    top.kill()
    assert_gone(family, 10)


def test_a_script_whose_snakemake_is_gone_before_it_looks_ends_though_a_shell_lives_on(tmp_path):
    (tmp_path / "snakemake").write_text(CALL)
    python, said = sys.executable, tmp_path / "said"
    late = [*SHELL, python, "-c", LATE, str(tmp_path)]
    with said.open("w") as output:
        above = subprocess.check_output(
            [python, "-c", ALONE, python, "-c", ADOPTER, python, str(tmp_path / "snakemake"), *late],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stderr=output,
            timeout=60,
        )
    adopter = psutil.Process(int(above))
    try:
        wait_for((tmp_path / "started").exists, 60, "the script")
        snakemake, shell, script = adopter.children(recursive=True)
        snakemake.kill()
        wait_for(lambda: shell.ppid() == adopter.pid, 10, "another parent of the shell")
        (tmp_path / "go").touch()
        assert_gone([script], 30)
        assert said.read_text() == "the process that started this job is gone\n"
        assert not (tmp_path / "went-on").exists()
    finally:
        for process in (*adopter.children(recursive=True), adopter):
            process.kill()


def test_ancestors_that_this_user_may_not_see_end_the_walk(monkeypatch):
    def parent(process):
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "parent", parent)
    assert list(ancestors()) == []


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_the_launcher(launcher):
    top, family, ranks = launcher(2)
    ranks[1].kill()
    assert_gone(family, 10)
    assert top.wait(10) == 1


def test_a_launch_that_ends_well_gives_no_reason_and_sees_our_code_alone(tmp_path):
    log = tmp_path / "logs" / "log"
    assert launch("worker", ["print", str(tmp_path)], 1, 3, log) is None
    assert log.read_text() == f"paths: {SOURCE}{os.pathsep}{HERE} threads: 3 here: False\n"
    assert [file.name for file in log.parent.iterdir()] == ["log"]


def test_what_processes_print_into_one_log_stands_there_line_by_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    assert launch("lines_worker", [], 2, 1, tmp_path / "log") is None
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "says" in line]
    assert sorted(lines) == sorted(f"rank {rank} says {number}" for rank in range(2) for number in range(2000))


def test_a_process_of_a_group_computes_fp32_in_fp32_whatever_the_environment_and_libraries_say(tmp_path, monkeypatch):
    for name in tf32.VARIABLES:
        monkeypatch.setenv(name, "1")
    assert launch("tf32_worker", [], 1, 1, tmp_path / "log") is None
    assert (tmp_path / "log").read_text() == "before: highest flags: [False, False] variables: [] asked: [True, True]\n"


def test_each_process_of_several_sees_a_slice_of_its_own(tmp_path):
    slices = {gpus.VARIABLE: "MIG-a,MIG-b"}  # of which CUDA would show every process the first
    assert launch("slice_worker", [], 2, 1, tmp_path / "log", environment=slices) is None
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "MIG" in line]
    assert sorted(lines) == ["0 0 MIG-a", "1 0 MIG-b"]


def test_a_launch_on_gpus_sees_those_alone_that_no_other_job_has(tmp_path, monkeypatch):
    for place in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "driver" / place).mkdir(parents=True)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path / "driver")
    monkeypatch.setattr(gpu_queue, "FOLDER", tmp_path / "slots")
    monkeypatch.delenv(gpus.VARIABLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with gpu_queue.acquire_gpus(1):
        assert launch("worker", ["gpus", str(tmp_path)], 1, 1, tmp_path / "log", device="cuda") is None
        with pytest.raises(InputError, match="needs 3 GPUs, and it may use 2"):
            launch("worker", ["gpus", str(tmp_path)], 3, 1, tmp_path / "log", device="cuda")
    assert (tmp_path / "log").read_text() == "gpus: 1 held: True\n"


@pytest.fixture
def wrapper(tmp_path):
    """Make an interpreter that is a script, which starts Python in its place (`exec`) or below it."""

    def make(exec_):
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\necho "this one"\n{exec_} {sys.executable} "$@"\n')
        python.chmod(0o755)
        return str(python)

    return make


@pytest.mark.parametrize("exec_", ["exec", ""])
def test_processes_run_with_the_interpreter_that_is_named(tmp_path, wrapper, exec_):
    launch("worker", ["gpus", str(tmp_path)], 1, 1, tmp_path / "log", python=wrapper(exec_))
    assert (tmp_path / "log").read_text() == "this one\ngpus: None held: False\n"


@pytest.mark.slow
def test_nothing_outlives_a_launcher_that_is_killed_below_an_interpreter_that_is_a_script(launcher, wrapper):
    top, family, _ = launcher(1, python=wrapper(""))
    top.kill()
    assert_gone(family, 10)


@pytest.mark.slow
def test_memory_that_runs_out_is_an_outcome_with_its_reason(tmp_path):
    reason = launch("worker", ["memory", str(tmp_path)], 2, 1, tmp_path / "log")
    assert reason is not None
    assert "can't allocate memory" in reason


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_users_error_in_a_rank_is_the_launchers(tmp_path, processes):
    with pytest.raises(InputError, match=r"^data.txt, row 7: empty; delete it$"):
        launch("worker", ["input", str(tmp_path)], processes, 1, tmp_path / "log")


def test_a_rank_that_failed_by_itself_ran_out_of_no_memory_though_a_neighbour_did(tmp_path, monkeypatch):
    monkeypatch.setattr("trainyard.launch.launch.oom_kill_count", iter(range(9)).__next__)
    with pytest.raises(LaunchError, match="KeyError: 'a bug'"):
        launch("worker", ["bug", str(tmp_path)], 1, 1, tmp_path / "log")
    reason = launch("worker", ["killed", str(tmp_path)], 1, 1, tmp_path / "log")
    assert reason is not None
    assert "the control group's oom_kill count rose" in reason


def test_a_bug_in_a_rank_fails_with_the_end_of_the_log(tmp_path):
    with pytest.raises(LaunchError, match=r"(?s)KeyError: 'a bug'.*line \d+, in main"):
        launch("worker", ["bug", str(tmp_path)], 1, 1, tmp_path / "log")


@pytest.mark.parametrize(
    ("deed", "interruption"),
    [
        ("watchdog-timeout", "a process of it gave no answer in time"),
        ("watchdog-stuck", "a process of it gave no answer in time"),
        ("watchdog-lost", "a process of it lost its connection to another"),
        ("watchdog-kernel", None),
        ("abort", None),
    ],
)
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_rank_that_nccls_watchdog_aborts_for_want_of_another_is_an_interruption(
    tmp_path, deed, interruption, processes
):
    with pytest.raises(LaunchError) as raised:
        launch("worker", [deed, str(tmp_path)], processes, 1, tmp_path / "log")
    said = raised.value.interruption
    assert said is None if interruption is None else said is not None and said.startswith(interruption)


def test_what_a_watchdog_said_in_an_earlier_life_says_nothing_of_this_one(tmp_path):
    for deed, interrupted in (("watchdog-lost", True), ("abort", False)):
        with pytest.raises(LaunchError) as raised:
            launch("worker", [deed, str(tmp_path)], 1, 1, tmp_path / "log")
        assert bool(raised.value.interruption) is interrupted


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_rank_that_waits_in_c_ends_soon_after_sigterm_and_the_log_says_where_it_was(tmp_path, processes):
    with pytest.raises(LaunchError) as raised:
        launch("worker", ["deaf", str(tmp_path)], processes, 1, tmp_path / "log")
    assert raised.value.interruption == "it was killed"
    log = (tmp_path / "log").read_text()
    assert "took no notice of SIGTERM in 1 s, and is ended:" in log
    assert "in wait_in_c" in log


@pytest.mark.parametrize(
    ("deed", "processes", "killed"),
    [
        ("bug", 1, False),
        ("killed", 1, True),
        pytest.param("bug", 2, False, marks=pytest.mark.slow),
        pytest.param("killed", 2, True, marks=pytest.mark.slow),
        # the other rank speaks first: it has lost its connection
        pytest.param("killed-in-a-sum", 2, True, marks=pytest.mark.slow),
        # the log's tail and torchrun's own words name signals
        pytest.param("bug-that-names-signals", 2, False, marks=pytest.mark.slow),
        pytest.param("crash", 2, False, marks=pytest.mark.slow),
        pytest.param("exit", 2, False, marks=pytest.mark.slow),
    ],
)
def test_a_killed_rank_is_told_from_one_that_failed(tmp_path, deed, processes, killed):
    with pytest.raises(LaunchError) as raised:
        launch("worker", [deed, str(tmp_path)], processes, 1, tmp_path / "log")
    assert bool(raised.value.interruption) is killed
    assert [file.name for file in tmp_path.iterdir() if "error" in file.name] == []
