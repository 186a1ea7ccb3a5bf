"""A search over recipes under Snakemake: from a study to its winner, with one generation more afterwards."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from changes import python
from repository import TRAIN, Repository, jobs

SEARCH = {
    "name": "rate",
    "method": ["pbt"],
    "dataset": "tinyworld",
    "model": "gpt2-tiny",
    "members": 2,
    "generations": 2,
    "steps": 2,
    "over": {"learning_rate": {"log": [1e-3, 1e-1]}},
    "train": {
        "batch": 4,
        "sequence_length": TRAIN["sequence_length"],
        "decay": "constant",
        "validation_tokens": TRAIN["validation_tokens"],
    },
}
STUDY = {
    "title": "Searched",
    "question": "Which rate?",
    "tune": [SEARCH],
    "evaluate": {"perplexity": {"split": "test", "limit": 10}},
}
WINNER = "winner_tinyworld_gpt2-tiny_single-x1_fp32_rate-pbt_seed1"


def states(folder: Path) -> list[str]:
    return sorted(state.parent.name for state in folder.glob("results/s/member_*/state"))


@pytest.mark.slow
def test_a_search_ends_in_a_run_and_grows_by_a_generation(
    copy_finished: Callable[[Path], Repository], tmp_path: Path
) -> None:
    repository = copy_finished(tmp_path / "repository")
    repository.write_study("s", STUDY)
    config = ["--config", "studies=s", "device=cpu"]
    repository.snakemake(*config)
    results = repository.folder / "results" / "s"
    summary = json.loads((results / WINNER / "summary.json").read_text())
    assert (summary["outcome"], summary["steps"], summary["models"]) == ("finished", 4, ["best", "last"])
    second = json.loads((results / "tune" / "rate-pbt" / "generation2.json").read_text())
    assert {slot["parent"] for slot in second["slots"]} <= {1, 2}
    assert sum("replaced" in slot for slot in second["slots"]) == 1
    assert (results / "report" / "search-lineage.svg").is_file()
    assert "rate-pbt, 2 members in 2 generations (" in (results / "report" / "overview.html").read_text()
    assert states(repository.folder) == ["member_rate-pbt_g2_s1", "member_rate-pbt_g2_s2"]
    assert jobs(repository.snakemake("-n", *config)) == []
    # without the states that are gone, every record holds
    for module, more in (("verify", []), ("archive", ["--output", str(tmp_path / "s.zip")])):
        done = python(repository.folder, "-m", f"trainyard.provenance.{module}", "s", *more, "--config", "device=cpu")
        assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        names = archive.namelist()
    assert f"s/results/s/{WINNER}/spec.json" in names
    assert "s/results/s/member_rate-pbt_g1_s1/metrics.jsonl" in names
    assert not [name for name in names if "/state/" in name]

    repository.write_study("s", STUDY | {"tune": [SEARCH | {"generations": 3}]})
    planned = jobs(repository.snakemake("-n", *config))
    trained = sorted(line for line in planned if line.startswith(("Train", "Settle", "Take")))
    assert trained == [
        "Settle generation 3 of rate-pbt of s",
        f"Take {WINNER} of s from the last generation",
        "Train member_rate-pbt_g3_s1 of s",
        "Train member_rate-pbt_g3_s2 of s",
    ]
