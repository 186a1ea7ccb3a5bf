"""The repository whose jobs run in conda environments, and what was started in these."""

from dataclasses import dataclass, field
from pathlib import Path

from repository import Repository

RUN = "tinyworld_gpt2-tiny_ddp-x2_fp32_seed1"
STUDY = {
    "title": "Conda",
    "question": "Does every stage run in an environment of its own?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny"],
            "parallel": ["ddp"],
            "processes": [2],
            "train": {
                "steps": 2,
                "batch": 4,
                "sequence_length": 64,
                "learning_rate": 1e-3,
                "validate_every": 2,
                "validation_tokens": 512,
                "checkpoint_every": 2,
            },
            "evaluate": {"perplexity": {"split": "test", "limit": 8}},
        }
    ],
    "probes": [{"models": ["gpt2-tiny"], "parallel": ["zero2"], "steps": 2}],
}
TRAINED = f"results/conda/{RUN}/summary.json"
REPORT = "results/conda/report/"
TARGETS = (f"{REPORT}comparison.html", f"{REPORT}loss-by-step.svg")
# Python runs it, once or twice, when an interpreter of the environment starts; a program after -c may have many lines
WITNESS = """\
import os, sys; words = " ".join(sys.orig_argv).split(); \
open(os.environ["WITNESS"], "a").write(f"{sys.prefix}\\t{' '.join(words)}\\n")
"""


@dataclass
class InEnvironments:
    """The repository, whose Snakemake runs jobs in conda environments.

    Attributes:
        repository: the folder.
        starts: what each Python of an environment was started with, by the environment's folder, in one file.
    """

    repository: Repository
    starts: Path
    _known: dict[Path, str] = field(default_factory=dict)

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Run Snakemake with `--use-conda`; its words."""
        done = self.repository.snakemake("--use-conda", *arguments, "--config", "studies=conda", check=check)
        return done.stdout + done.stderr

    def create(self, *targets: str) -> set[str]:
        """Create the environments that the jobs of some targets lack; the stages of those that are new."""
        self.snakemake("--conda-create-envs-only", *targets)
        new = {file.with_suffix("") for file in self.folder.glob("*_.yaml")} - set(self._known)
        for environment in new:
            (packages,) = environment.glob("lib/python*/site-packages")
            (packages / "witness.pth").write_text(WITNESS)
            self._known[environment] = self._stage(environment.with_suffix(".yaml"))
        return {self._known[environment] for environment in new}

    @property
    def folder(self) -> Path:
        """Where Snakemake keeps environments."""
        return self.repository.folder / ".snakemake" / "conda"

    def started(self) -> list[tuple[str, str]]:
        """The stage of the environment and the command line of each Python that was started in one."""
        lines = (line.split("\t") for line in self.starts.read_text().splitlines())
        return [(self._known[Path(prefix).resolve()], words) for prefix, words in lines]

    def _stage(self, file: Path) -> str:
        """The stage whose environment file this is a copy of."""
        stages = (self.repository.folder / "envs").glob("*.yaml")
        return next(stage.stem for stage in stages if stage.read_bytes() == file.read_bytes())
