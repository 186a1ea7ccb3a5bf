"""What `make archive` packs of a whole study."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from changes import count_dirty, python
from repository import Repository

pytestmark = pytest.mark.slow

RUN = "results/micro/tinyworld_gpt2-tiny_single-x1_fp32_seed1"
SUMMARISER = "results/micro/tinyworld-dialogues_bart-tiny_single-x1_fp32_seed1"


def archive(folder: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return python(folder, "-m", "trainyard.provenance.archive", "micro", "--output", str(output), *arguments)


@pytest.fixture(scope="module")
def packed(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the study as it was run."""
    output = tmp_path_factory.mktemp("archive") / "micro.zip"
    done = archive(repository.folder, output)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def changed(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which a score was changed, tokens were counted under uncommitted changes, and a licence is closed."""
    folder = tmp_path_factory.mktemp("changed") / "trainyard"
    shutil.copytree(repository.folder, folder)
    count_dirty(folder)
    scores = folder / RUN / "evaluate" / "perplexity-tinyworld-test@best.json"
    scores.write_text(scores.read_text().replace('"n": 20', '"n": 21'))
    catalogue = folder / "config" / "datasets.yaml"
    before, name, after = catalogue.read_text().partition("\ntinyworld-dialogues:")
    catalogue.write_text(before + name + after.replace("licence: Apache-2.0", "licence: CC BY-NC-ND 4.0", 1))
    return folder


def names(file: Path) -> set[str]:
    with zipfile.ZipFile(file) as opened:
        return {name.removeprefix("micro/") for name in opened.namelist()}


def read(file: Path, name: str) -> str:
    with zipfile.ZipFile(file) as opened:
        return opened.read(f"micro/{name}").decode()


def test_the_same_study_gives_the_same_bytes(repository: Repository, packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    assert archive(repository.folder, again).returncode == 0
    assert again.read_bytes() == packed.read_bytes()


def test_sha256sum_checks_it(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(tmp_path)
    command = ["sha256sum", "--check", "--quiet", "--strict", "MANIFEST"]
    done = subprocess.run(command, cwd=tmp_path / "micro", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "micro" / "MANIFEST").read_text().splitlines()}
    assert listed == names(packed) - {"MANIFEST"}
    metrics = tmp_path / "micro" / RUN / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + "{}\n")
    done = subprocess.run(command, cwd=tmp_path / "micro", capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{RUN}/metrics.jsonl: FAILED" in done.stdout


def test_it_holds_specifications_results_environment_and_report(repository: Repository, packed: Path) -> None:
    found = names(packed)
    for run in (RUN, SUMMARISER, "results/micro/probe_tinyworld_gpt2-tiny_zero1-x2_fp32_seed1"):
        for name in ("spec.json", "metrics.jsonl", "summary.json", "provenance.json"):
            assert f"{run}/{name}" in found
    results = repository.folder / "results"
    for pattern in ("*/*/evaluate/*", "*/measure/*", "*/shortcuts/*", "*/report/*", "micro/provenance/**/*"):
        files = {str(path.relative_to(repository.folder)) for path in results.glob(pattern) if path.is_file()}
        assert files
        assert files <= found
    assert {"README.md", "MANIFEST", "config/studies/micro.yaml", "envs/train.yaml"} <= found
    assert "results/data/tinyworld/bpe-512/train/index.json" in found
    assert "results/data/tinyworld/rows/train.json" in found
    resolved = json.loads(read(packed, "configuration.json"))
    assert resolved["study"]["grids"][0]["seeds"] == [1]
    assert set(resolved["models"]) == {"gpt2-tiny", "gpt2-modern-tiny", "bart-tiny"}
    assert resolved["datasets"]["tinyworld"]["licence"] == "Apache-2.0"


def test_it_holds_no_data_and_no_weights_unless_asked(repository: Repository, packed: Path, tmp_path: Path) -> None:
    large = {".safetensors", ".bin"}
    assert not {name for name in names(packed) if Path(name).suffix in large or name.endswith("tokenizer.json")}
    assert not {name for name in names(packed) if name.startswith("results/data") and name.endswith(".parquet")}
    assert f"{RUN}/models/best/README.md" in names(packed)
    output = tmp_path / "models.zip"
    assert archive(repository.folder, output, "--models").returncode == 0
    assert names(output) - names(packed) == {
        str(path.relative_to(repository.folder))
        for path in (repository.folder / "results" / "micro").glob("*/models/*/*")
        if path.name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }


def test_its_readme_tells_what_is_what_where_it_is_from_and_how_to_repeat_it(packed: Path) -> None:
    text = read(packed, "README.md")
    assert "every file of its 75 jobs was hashed again" in text
    assert "--config studies=micro" in text
    assert "| tinyworld | train | 1,000 | tinyworld stories seed 0 | Apache-2.0 | " in text
    assert "torch 2." in text
    assert f"  - `{RUN}/models/best/model.safetensors`" in text


def test_it_names_no_folder_of_this_machine(repository: Repository, packed: Path) -> None:
    with zipfile.ZipFile(packed) as opened:
        for name in opened.namelist():
            content = opened.read(name)
            for folder in (repository.folder, sys.prefix):
                assert str(folder).encode() not in content, name
                assert json.dumps(str(folder))[1:-1].encode() not in content, name


def test_a_study_that_does_not_hold_is_refused(changed: Path, tmp_path: Path) -> None:
    done = archive(changed, tmp_path / "no.zip")
    assert done.returncode == 1
    assert f"changed: {RUN}/evaluate/perplexity-tinyworld-test@best.json: recorded " in done.stderr
    assert "make verify STUDY=micro" in done.stderr
    assert not list(tmp_path.iterdir())


def test_anyway_it_says_what_does_not_hold_and_texts_of_a_closed_licence_stay_out(
    changed: Path, packed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "anyway.zip"
    done = archive(changed, output, "--anyway")
    assert done.returncode == 0, done.stderr
    text = read(output, "README.md")
    assert "**It was packed though " in text
    assert f"- changed: {RUN}/evaluate/perplexity-tinyworld-test@best.json: recorded " in text
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=changed, capture_output=True, text=True, check=True
    ).stdout
    assert f"{commit.strip()} with changes to src/trainyard/core/text.py (" in text
    assert f"git checkout {commit}" in text
    assert names(packed) - names(output) == {
        f"{SUMMARISER}/evaluate/rouge-tinyworld-dialogues-test@best.parquet",
        "results/micro/report/samples.html",
    }
    assert "may hold texts of tinyworld-dialogues, whose licence doesn't let everyone pass them on:" in text


@pytest.fixture
def report(repository: Repository) -> Iterator[Path]:
    """Where Snakemake's report lies."""
    path = repository.folder / "report.html"
    yield path
    path.unlink()


@pytest.mark.parametrize(
    ("studies", "older", "reason"),
    [
        (["micro"], False, None),
        (["micro"], True, "older than what it shows"),
        (["micro", "summarisation"], False, "a report of micro, summarisation, and this is the archive of micro"),
        (["demo"], False, "a report of demo, and this is the archive of micro"),
    ],
)
def test_the_report_goes_in_if_it_is_this_study_s_alone_and_newer_than_what_it_shows(
    repository: Repository, report: Path, tmp_path: Path, studies: list[str], older: bool, reason: str | None
) -> None:
    report.write_text("".join(f'"results/{study}/report/overview.html"' for study in studies))
    if older:
        os.utime(report, (0, 0))
    output = tmp_path / "micro.zip"
    assert archive(repository.folder, output).returncode == 0
    assert ("report.html" in names(output)) == (reason is None)
    assert reason is None or reason in read(output, "README.md")
