"""A copy of the repository whose Snakemake submits its jobs to the cluster of the tests."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from cluster import Cluster, said
from repository import Repository

from processes import wait_for

# On a real cluster the first look at a job is after 40 s. Each look that finds none at its end is followed by one
# 10 s later than the last.
SETTINGS = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "6", "--latency-wait", "20")


class Submitting(Repository):
    """A repository on the cluster's shared file system, which is this machine's."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self.output = folder.with_name("snakemake.log")

    def submit(self, *arguments: str) -> str:
        """Run Snakemake through profiles/slurm, to its end; gives what it says."""
        with self.submitted(*arguments) as process:
            self.ended(process)
        return self.said()

    @contextmanager
    def submitted(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Snakemake through profiles/slurm, while the body runs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMP_"))}
        with self.output.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *SETTINGS, *arguments],
                cwd=self.folder,
                env={**kept, "PYTHONPATH": ""},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def ended(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until Snakemake has ended, well."""
        status = process.wait(600)
        assert status == 0, self.said()[-6000:] + self.failed_logs() + self.cluster.log()

    def said(self) -> str:
        """What the last Snakemake has said so far."""
        return self.output.read_text(errors="replace")

    def failed_logs(self) -> str:
        """The ends of the logs that SLURM's failed jobs have left."""
        files = sorted((self.folder / "logs" / "slurm").rglob("*.log"))
        return "".join(f"\n{file}:\n{file.read_text(errors='replace')[-3000:]}" for file in files)

    def jobs(self, rule: str, run: str) -> list[str]:
        """The numbers of the jobs of a run that are queued or run, by the comment that Snakemake gives them."""
        lines = said("squeue", "--noheader", "--Format=JobID:20,Comment:300").splitlines()
        found = (line.split() for line in lines)
        return [words[0] for words in found if words[1].startswith(f"rule_{rule}_") and run in words[1]]

    def rows(self, study: str, run: str) -> int:
        """How many steps a run has taken so far, by its working folder."""
        files = list((self.folder / "work" / study / run).glob("*/metrics.jsonl"))
        return len(re.findall("\n", files[0].read_text())) if files else 0

    def hold(self, study: str, runs: Sequence[str], count: int, process: subprocess.Popen[bytes]) -> dict[str, int]:
        """Stop each run when it has taken so many steps; SLURM wakes what it ends (SIGCONT).

        Returns:
            How many steps each has taken.
        """
        held: dict[str, int] = {}

        def all_held() -> bool:
            for run in [each for each in runs if each not in held and self.rows(study, each) >= count]:
                for rank in self.ranks(study, run):
                    rank.suspend()
                held[run] = self.rows(study, run)
            return len(held) == len(runs)

        wait_for(all_held, 300, f"{count} steps of {', '.join(runs)}", process, self.output)
        return held

    def ranks(self, study: str, run: str) -> list[psutil.Process]:
        """The processes that train a run."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            trains = "trainyard.train.worker" in words[:5] and words[-1].startswith(f"work/{study}/{run}/")
            if trains and process.info["cwd"] == str(self.folder):
                found.append(process)
        return found
