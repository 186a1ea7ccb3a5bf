"""Where the tests bring up no cluster, and what they leave alone."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import FOLDER, refusal, running

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def no_slurm_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have it set."""
    monkeypatch.delenv("SLURM_CONF", raising=False)


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


def test_slurm_conf_of_another_cluster_is_refused_and_ours_is_not(
    etc: Path, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", "/opt/slurm/etc/slurm.conf")
    assert refusal(etc, ours) == (
        "SLURM_CONF is set (/opt/slurm/etc/slurm.conf): these tests would command another cluster"
    )
    monkeypatch.setenv("SLURM_CONF", str(ours / "slurm.conf"))
    assert refusal(etc, ours) is None


def test_programs_of_another_slurm_are_refused(
    etc: Path, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("/bin/true", tmp_path / "scancel")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert str(refusal(etc, ours)).startswith(f"{tmp_path}/scancel may belong to another cluster: ")


@pytest.mark.parametrize("name", ["slurmd", "munged"])
def test_a_daemon_that_the_tests_have_not_started_is_refused_unless_its_pid_file_is_ours(
    etc: Path, ours: Path, tmp_path: Path, name: str
) -> None:
    shutil.copy("/bin/sleep", tmp_path / name)
    daemon = subprocess.Popen([tmp_path / name, "60"])
    try:
        found = refusal(etc, ours)
        assert found is not None
        assert found.startswith(f"a {name} runs here (process {daemon.pid}) that these tests have not started")
        (ours / "pid" / f"{name}-n1.pid").write_text(f"{daemon.pid}\n")
        assert running(ours)[f"{name}-n1"] == daemon.pid
        assert refusal(etc, ours) is None
    finally:
        daemon.kill()
        daemon.wait()


def test_a_pid_file_whose_number_is_another_process_s_by_now_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "pid").mkdir()
    (tmp_path / "pid" / "slurmctld.pid").write_text(str(os.getpid()))
    assert running(tmp_path) == {}


@pytest.mark.parametrize("name", ["slurm/slurm.conf", "slurm/gres.conf", "munge/munge.key"])
def test_nothing_is_installed_beside_another_cluster_s_files(etc: Path, tmp_path: Path, name: str) -> None:
    (etc / name).parent.mkdir()
    (etc / name).touch()
    done = install(etc, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{etc / name} is there, without munged slurmctld slurmd srun: ")
    assert "nothing is installed" in done.stderr


def test_nothing_stands_in_the_way_of_an_installation_on_a_machine_of_no_cluster(etc: Path, tmp_path: Path) -> None:
    assert "is there" not in install(etc, tmp_path).stderr


def install(etc: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Run install.sh where there are no programs, apt-get among them."""
    command = ["/bin/bash", str(HERE / "install.sh"), str(etc)]
    return subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=30, check=False)
