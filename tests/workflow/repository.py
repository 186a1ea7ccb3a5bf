"""A copy of the repository in a folder of its own, in which Snakemake runs for real."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "rules", "workflow", "config", "envs", "profiles", "report", "src")
TRAIN = {
    "steps": 6,
    "batch": 8,
    "sequence_length": 64,
    "learning_rate": 1e-3,
    "validate_every": 3,
    "validation_tokens": 1024,
    "checkpoint_every": 3,
    "keep_steps": [4],
}
MICRO = {
    "title": "Micro",
    "question": "Does every stage run?",
    "scaling": True,
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny", "gpt2-modern-tiny"],
            "train": TRAIN,
            "evaluate": {
                "perplexity": {"split": "test", "limit": 20},
                "hellaswag": {"datasets": ["tinyworld-endings"], "limit": 40, "checkpoints": ["best", "kept"]},
                "samples": {"prompts": 2, "prompt_words": 8, "new_tokens": 8},
                "contamination": {"ngram": 11},
            },
        },
        {
            "datasets": ["tinyworld-dialogues"],
            "models": ["bart-tiny"],
            "train": {**TRAIN, "source_length": 128, "target_length": 48},
            "evaluate": {"rouge": {"limit": 4, "beams": 2, "max_length": 20}},
        },
    ],
    "probes": [{"models": ["gpt2-tiny"], "parallel": ["zero1", "zero2"], "steps": 4}],
    "measure": [
        {
            "models": ["gpt2-tiny"],
            "parallel": ["single"],
            "batch": [2],
            "sequence_length": [64],
            "steps": 3,
            "warmup_steps": 1,
            "launches": 2,
        }
    ],
}


def jobs(dry_run: subprocess.CompletedProcess[str]) -> list[str]:
    """The messages of the jobs that a dry run lists, without `all`."""
    return re.findall(r"^Job \d+: (?!Complete: )(.*)$", dry_run.stdout + dry_run.stderr, flags=re.MULTILINE)


class Repository:
    """A folder with the workflow's files, and Snakemake in it.

    Attributes:
        folder: the folder.
        variables: of the environment that Snakemake runs in, over this process's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        folder.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)
        # a world of some rows, so that data takes no time
        catalogue = folder / "config" / "datasets.yaml"
        few = {"train": 1_000, "validation": 200, "test": 200}
        number = re.compile(r"(train|validation|test): \d[\d_]*(?=[,}])")
        catalogue.write_text(number.sub(lambda found: f"{found[1]}: {few[found[1]]}", catalogue.read_text()))

    def write_study(self, name: str, study: dict) -> None:
        (self.folder / "config" / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(study))

    @property
    def environment(self) -> dict[str, str]:
        """Of Snakemake; its locale knows no letters beyond ASCII, as in many containers."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "LC_ALL": "C", **self.variables}

    def snakemake(
        self, *arguments: str, check: bool = True, where: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Call Snakemake in the folder, or in another."""
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=where or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
        return done

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start Snakemake, to be disturbed."""
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def unlock(self) -> subprocess.CompletedProcess[str]:
        """What `make demo` does before it starts."""
        return subprocess.run(
            [sys.executable, "-m", "trainyard.jobs.unlock"],
            cwd=self.folder,
            env=self.environment | {"PYTHONPATH": str(self.folder / "src")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def would_run(self, study: str = "micro") -> list[str]:
        """The messages of the jobs that a dry run lists, without `all`."""
        return jobs(self.snakemake("-n", "--config", f"studies={study}"))

    @contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """The repository with `old` replaced by `new` in a file, for a while."""
        path = self.folder / file
        before = path.read_text()
        assert before.count(old) >= 1, f"{file} does not hold {old!r}"
        path.write_text(before.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(before)

    def would_run_as(self, study: dict) -> list[str]:
        """The jobs of a dry run with `micro` changed to `study`, for this once."""
        self.write_study("micro", study)
        try:
            return self.would_run()
        finally:
            self.write_study("micro", MICRO)
