"""How long a dry run takes: each study of the repository, and one of 1,000 runs made for it.

`make bench-dry-run` prints seconds of three calls each, in turn; the aim is less than 6.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("rules", "workflow", "config", "envs", "profiles", "report", "src")
THOUSAND = {
    "title": "A thousand runs",
    "question": "How long does the plan take?",
    "grids": [
        {
            "datasets": ["tinyworld"],
            "models": ["gpt2-tiny", "opt-tiny"],
            "parallel": ["ddp", "fsdp", "zero1", "zero2", "zero3"],
            "processes": [2],
            "precision": ["fp32", "bf16"],
            "seeds": list(range(50)),
            "train": {"steps": 100, "batch": 8, "sequence_length": 64, "learning_rate": 1e-3},
        }
    ],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "Snakefile", folder)
        for part in PARTS:
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "config" / "studies" / "thousand.yaml").write_text(yaml.safe_dump(THOUSAND))
        studies = sorted(path.stem for path in (folder / "config" / "studies").glob("*.yaml"))
        times: dict[str, list[float]] = {study: [] for study in studies}
        for _ in range(3):
            for study in studies:
                start = time.perf_counter()
                command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--cores", "2"]
                subprocess.run([*command, "--config", f"studies={study}"], cwd=folder, check=True)
                times[study].append(time.perf_counter() - start)
        print(f"{'study':<16} seconds of three calls")
        for study, seconds in times.items():
            print(f"{study:<16} {'  '.join(f'{value:5.2f}' for value in seconds)}")


if __name__ == "__main__":
    main()
