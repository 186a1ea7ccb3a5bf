"""What a script is handed by Snakemake."""

import pytest

from trainyard.job import _command


@pytest.mark.parametrize("studies", ["demo,small", "demo small", ["demo", "small"]])
def test_the_recorded_command_asks_for_the_job_again(studies: str | list[str]) -> None:
    assert _command(studies, "results/demo/r/spec.json") == [
        *("snakemake", "--cores", "all", "--config", "studies=demo,small"),
        *("--", "results/demo/r/spec.json"),
    ]
