"""Where the tests bring up no cluster, and what they leave alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import FOLDER, refusal, running


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The folder of a cluster of ours; the one that other tests may have up just now belongs to it."""
    (tmp_path / "ours" / "pid").mkdir(parents=True)
    for file in (FOLDER / "pid").glob("*.pid"):
        shutil.copy(file, tmp_path / "ours" / "pid" / f"{file.stem}-of-other-tests.pid")
    return tmp_path / "ours"


def test_a_configuration_of_another_cluster_is_refused(etc: Path, ours: Path) -> None:
    assert refusal(etc, ours) is None
    (etc / "slurm.conf").write_text("ClusterName=lab\n")
    assert refusal(etc, ours) == (
        f"{etc}/slurm.conf is another cluster's: run these tests on a machine that is in no SLURM cluster"
    )


def test_a_link_that_killed_tests_have_left_is_ours(etc: Path, ours: Path) -> None:
    (etc / "slurm.conf").symlink_to(ours / "slurm.conf")
    assert refusal(etc, ours) is None


def test_a_daemon_that_the_tests_have_not_started_is_refused_unless_its_pid_file_is_ours(
    etc: Path, ours: Path, tmp_path: Path
) -> None:
    shutil.copy("/bin/sleep", tmp_path / "slurmd")
    daemon = subprocess.Popen([tmp_path / "slurmd", "60"])
    try:
        found = refusal(etc, ours)
        assert found is not None
        assert found.startswith(f"a slurmd runs here (process {daemon.pid}) that these tests have not started")
        (ours / "pid" / "slurmd-n1.pid").write_text(f"{daemon.pid}\n")
        assert running(ours)["slurmd-n1"] == daemon.pid
        assert refusal(etc, ours) is None
    finally:
        daemon.kill()
        daemon.wait()


def test_a_pid_file_whose_number_is_another_process_s_by_now_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "slurmctld.pid").write_text(str(os.getpid()))
    assert running(tmp_path) == {}
