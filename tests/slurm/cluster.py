"""A real SLURM cluster on this machine: munged, slurmctld and a slurmd for each of three nodes.

```
/run/trainyard-slurm/       everything that the cluster has: configuration, key, socket, state, logs, pid files
/etc/slurm/slurm.conf       and two files beside it: links into that folder, since jobs look nowhere else
```

munged has a key and a socket of its own, so /etc/munge is left alone. Programs look into /etc/slurm as those of a
distribution's packages do, unless SLURM_CONF names another place: with it, or with other programs, nothing is begun.
Each node says that it has four cores, 16 GB and two GPUs, whose files are /dev/null under other names.
"""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from processes import wait_for
from trainyard.core.errors import InputError

FOLDER = Path("/run/trainyard-slurm")
ETC = Path("/etc/slurm")
CGROUPS = Path("/sys/fs/cgroup")
LINKS = ("slurm.conf", "gres.conf", "cgroup.conf")
NODES = ("n1", "n2", "n3")
GPUS = 2
PROGRAMS = (Path("/usr/bin"), Path("/usr/sbin"))
DAEMONS = ("slurmctld", "slurmd", "munged")
COMMANDS = (*DAEMONS, "srun", "sbatch", "scancel", "scontrol", "squeue", "sinfo")
SLURM_CONF = """
ClusterName=trainyard
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
SlurmctldPidFile={folder}/pid/slurmctld.pid
SlurmdPidFile={folder}/pid/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
SlurmdSpoolDir={folder}/spool/%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,bf_interval=2,defer_batch=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
SlurmdParameters=config_overrides
KillWait=30
MinJobAge=3600
OverTimeLimit=0
SlurmctldTimeout=60
SlurmdTimeout=60
PropagateResourceLimits=NONE
PartitionName=gpu Nodes=ALL Default=YES MaxTime=02:00:00 DefMemPerCPU=500 PriorityTier=1
PartitionName=cpu Nodes=ALL MaxTime=02:00:00 DefMemPerCPU=500 PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=02:00:00 DefMemPerCPU=500 PriorityTier=2 PreemptMode=OFF
"""
NODE = "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=16000 Gres=gpu:{gpus}\n"


def refusal(etc: Path = ETC, folder: Path = FOLDER) -> str | None:
    """Why no cluster may be brought up here, or None: this machine is a part of another one."""
    for name in LINKS:
        file = etc / name
        if (file.exists() or file.is_symlink()) and file.resolve() != folder.resolve() / name:
            return f"{file} is another cluster's: run these tests on a machine that is in no SLURM cluster"
    elsewhere = os.environ.get("SLURM_CONF")
    if elsewhere and Path(elsewhere).resolve() != folder.resolve() / "slurm.conf":
        return f"SLURM_CONF is set ({elsewhere}): these tests would command another cluster"
    for name in COMMANDS:
        found = shutil.which(name)
        if found and Path(found).parent.resolve() not in PROGRAMS:
            return f"{found} may belong to another cluster: these tests take the SLURM of Debian's packages alone"
    ours = set(running(folder).values())
    for process in psutil.process_iter(["name"]):
        if process.info["name"] in DAEMONS and process.pid not in ours:
            return (
                f"a {process.info['name']} runs here (process {process.pid}) that these tests have not started: "
                "run them on a machine that is in no SLURM cluster (`service munge stop`, if munge is for nothing else)"
            )
    return None


def running(folder: Path) -> dict[str, int]:
    """The daemons of our cluster that run, by their pid files; a number that is another process's by now is none."""
    found = {}
    for file in sorted((folder / "pid").glob("*.pid")):
        name = file.stem.split("-")[0]
        try:
            number = int(file.read_text())
            if psutil.Process(number).name() == name:
                found[file.stem] = number
        except (ValueError, psutil.NoSuchProcess):
            continue
    return found


def said(*words: str) -> str:
    """What a command prints; it ends well."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


class Cluster:
    """The cluster, up between `start` and `stop`."""

    def __init__(self, folder: Path = FOLDER, etc: Path = ETC) -> None:
        self.folder = folder
        self.etc = etc
        self._made_etc = False

    def start(self) -> None:
        """Bring it up, and wait until every node is idle.

        Raises:
            InputError: this machine is a part of another cluster, the caller isn't root, or SLURM isn't installed.
        """
        if os.getuid() != 0:
            raise InputError("bringing up a SLURM cluster takes root: run `make test-slurm` as root")
        missing = [name for name in (*DAEMONS, "srun") if not shutil.which(name)]
        if missing:
            raise InputError(f"{', '.join(missing)}: not installed; `make test-slurm` installs slurm-wlm and munge")
        if reason := refusal(self.etc, self.folder):
            raise InputError(reason)
        self.stop()  # what tests that were killed have left
        self._write()
        self._start_munge()
        said("slurmctld", "-i")
        for node in NODES:
            said("slurmd", "-N", node)
        wait_for(lambda: self.states() == ["idle"] * len(NODES), 60, "all nodes idle")

    def stop(self) -> None:
        """End every job and daemon, and leave no trace outside the log of the tests."""
        daemons = {name: psutil.Process(number) for name, number in running(self.folder).items()}
        if "slurmctld" in daemons:
            subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=60, check=False)
            with suppress(AssertionError):
                wait_for(lambda: not said("squeue", "--noheader"), 60, "all jobs ended")
        for name in sorted(daemons, key=lambda name: name != "slurmctld"):
            daemons[name].send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(list(daemons.values()), 20)
        for process in alive:
            process.kill()
        for name in LINKS:
            if (self.etc / name).is_symlink():
                (self.etc / name).unlink()
        if self._made_etc:
            self.etc.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)
        groups = [folder for node in NODES for folder in CGROUPS.glob(f"*/slurm_{node}/**/")]
        for folder in sorted(groups, reverse=True):
            with suppress(OSError):
                folder.rmdir()

    def control(self, *words: str) -> str:
        """What `scontrol` prints."""
        return said("scontrol", *words)

    def job(self, number: str) -> dict[str, str]:
        """What the cluster says of a job, by its names for it: JobState, NumNodes, ..."""
        words = self.control("show", "job", number, "--oneliner").split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def states(self) -> list[str]:
        """What state each node is in."""
        done = subprocess.run(
            ["sinfo", "--Node", "--noheader", "--partition=gpu", "--format=%T"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.split()

    def log(self) -> str:
        """The last lines of every daemon's log."""
        files = sorted((self.folder / "log").glob("*.log"))
        return "\n".join(f"{file.name}:\n" + "\n".join(file.read_text().splitlines()[-20:]) for file in files)

    def _write(self) -> None:
        host = socket.gethostname().split(".")[0]
        for part in ("pid", "log", "state", "dev", *(f"spool/{node}" for node in NODES)):
            (self.folder / part).mkdir(parents=True)
        nodes = "".join(
            NODE.format(node=node, host=host, port=17001 + number, gpus=GPUS) for number, node in enumerate(NODES)
        )
        (self.folder / "slurm.conf").write_text(nodes + SLURM_CONF.format(host=host, folder=self.folder))
        for node in NODES:
            for gpu in range(GPUS):
                os.mknod(self.folder / "dev" / f"{node}-gpu{gpu}", 0o020666, os.makedev(1, 3))
        files = [f"NodeName={node} Name=gpu File={self.folder}/dev/{node}-gpu[0-{GPUS - 1}]\n" for node in NODES]
        (self.folder / "gres.conf").write_text("".join(files))
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\nConstrainRAMSpace=yes\nMinRAMSpace=30\n")
        self._made_etc = not self.etc.exists()
        self.etc.mkdir(exist_ok=True)
        for name in LINKS:
            (self.etc / name).symlink_to(self.folder / name)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
        place = self.folder / "munge.socket"
        said(
            "munged",
            f"--key-file={key}",
            f"--socket={place}",
            f"--pid-file={self.folder}/pid/munged.pid",
            f"--log-file={self.folder}/log/munged.log",
            f"--seed-file={self.folder}/munge.seed",
        )
        said("munge", "--no-input", f"--socket={place}")
