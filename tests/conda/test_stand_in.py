"""The stand-in for conda answers as Snakemake expects of a client, beyond what our workflow asks of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from conda_environments import InEnvironments

pytestmark = pytest.mark.slow

RULE = """\
rule tell:
    output: "prefix"
    conda: "tiny.yaml"
    shell: "python -I -c 'import sys; print(sys.prefix)' > {output}"
"""


def test_a_pin_file_is_taken_before_the_environment_file(environments: InEnvironments, tmp_path: Path) -> None:
    variables = environments.repository.variables
    channel = Path(variables["PATH"].partition(":")[0]).parent / "channel"
    (package,) = channel.glob("linux-64/python-*.tar.bz2")
    (tmp_path / "Snakefile").write_text(RULE)
    (tmp_path / "tiny.yaml").write_text("channels: [nodefaults]\ndependencies: [python, pip]\n")
    (tmp_path / "tiny.linux-64.pin.txt").write_text(f"@EXPLICIT\nfile://{package}\n")
    _run([sys.executable, "-m", "snakemake", "--cores", "1", "--use-conda"], tmp_path, variables)
    (prefix,) = (tmp_path / ".snakemake" / "conda").glob("*_")
    assert (tmp_path / "prefix").read_text().strip() == str(prefix)
    listed = _run(["conda", "list", "--explicit", "--prefix", str(prefix)], tmp_path, variables)
    assert listed == f"@EXPLICIT\nfile://{package}\n"


def test_what_it_was_not_taught_is_an_error(environments: InEnvironments, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"a stand-in for tests.*'remove'"):
        _run(["conda", "remove", "python"], tmp_path, environments.repository.variables)


def _run(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        ["/usr/bin/env", *(f"{name}={value}" for name, value in variables.items()), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
