"""Which workflow a call in a folder is about; apart from what needs no Snakemake, which trainings do without."""

from pathlib import Path

from snakemake.common import SNAKEFILE_CHOICES

from trainyard.core.repository import ROOT


def find_snakefile(folder: Path) -> Path:
    """The Snakefile that Snakemake takes in `folder`, or where it has none this repository's."""
    return next((folder / name for name in SNAKEFILE_CHOICES if (folder / name).is_file()), ROOT / "Snakefile")
