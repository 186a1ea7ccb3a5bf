"""What `make verify` finds of a whole study: nothing after a run, and every kind of change since."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from changes import STATISTICS, count_dirty, flip, python
from repository import MICRO, Repository

pytestmark = pytest.mark.slow

RUN = "results/micro/tinyworld_gpt2-tiny_single-x1_fp32_seed1"
OTHER = "results/micro/tinyworld_gpt2-modern-tiny_single-x1_fp32_seed1"
SUMMARISER = "results/micro/tinyworld-dialogues_bart-tiny_single-x1_fp32_seed1"
PROBE = "results/micro/probe_tinyworld_gpt2-tiny_zero1-x2_fp32_seed1"
ENDINGS = "hellaswag-tinyworld-endings-harness-0shot"
SHARD = "results/data/tinyworld/bpe-512/train/shard-00000.bin"


def verify(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = python(folder, "-m", "trainyard.provenance.verify", "micro", *arguments)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def changed(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of a copy of the study in which much has changed."""
    folder = tmp_path_factory.mktemp("changed") / "trainyard"
    shutil.copytree(repository.folder, folder)
    flip(folder / RUN / "models" / "best" / "model.safetensors")
    flip(folder / SHARD)
    with (folder / OTHER / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7}\n')
    scores = folder / OTHER / "evaluate" / f"{ENDINGS}@best.json"
    scores.write_text(scores.read_text().replace('"n": 40', '"n": 41'))
    (folder / PROBE / "parity.json").unlink()
    (folder / SUMMARISER / "models" / "last" / "config.json").unlink()
    (folder / "results/micro/provenance/shortcuts/tinyworld-endings.json").unlink()
    (folder / "results/micro/provenance/contamination/tinyworld/tinyworld-test.json").write_text('{"commit": null}')
    (folder / "results/micro/notes.txt").write_text("mine")
    (folder / RUN / "models" / "best" / "extra.bin").write_bytes(b"x")
    (folder / "results/micro/tinyworld_gpt2-tiny_single-x1_fp32_seed2").mkdir()
    record = folder / PROBE / "provenance.json"
    written = json.loads(record.read_text())
    record.write_text(json.dumps(written | {"versions": written["versions"] | {"torch": "2.0.0"}}))
    (folder / "config/studies/micro.yaml").write_text(
        yaml.safe_dump(MICRO | {"measure": [MICRO["measure"][0] | {"steps": 4}]})
    )
    count_dirty(folder)
    with (folder / "src/trainyard/evaluate/rouge.py").open("a") as file:
        file.write("MORE = 1\n")
    with (folder / "workflow/scripts/tokenizer.py").open("a") as file:
        file.write("# more\n")
    return verify(folder).stdout.splitlines()


def of(lines: list[str], state: str) -> list[str]:
    """The files of a state, in order."""
    return [line.split(": ")[1] for line in lines if line.startswith(f"{state}: ") and line.count(": ") > 1]


def said(lines: list[str], state: str, file: str) -> str:
    found = [line for line in lines if line.startswith(f"{state}: {file}: ")]
    assert len(found) == 1, found
    return found[0]


def test_after_a_run_everything_holds(repository: Repository) -> None:
    done = verify(repository.folder)
    assert done.returncode == 0, done.stdout
    assert "jobs unknown (not a git repository of its own): whether their code was committed is unknown" in done.stdout
    assert "study micro: all checks that could be made passed" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith(("train", "evaluate"))] == [
        ["train", "3", "3"],
        ["evaluate", "9", "9"],
    ]


def test_every_change_is_found_and_none_besides(
    changed: list[str], record_property: Callable[[str, object], None]
) -> None:
    assert sorted(of(changed, "changed")) == sorted(
        [
            f"{RUN}/models/best/model.safetensors",
            SHARD,
            f"{OTHER}/metrics.jsonl",
            f"{OTHER}/evaluate/{ENDINGS}@best.json",
        ]
    )
    assert of(changed, "missing") == [f"{SUMMARISER}/models/last/config.json", f"{PROBE}/parity.json"]
    assert of(changed, "unrecorded") == [
        "results/micro/shortcuts/tinyworld-endings.json",
        "results/micro/contamination/tinyworld/tinyworld-test.json",
    ]
    assert of(changed, "extra") == [
        f"{RUN}/models/best/extra.bin",
        "results/micro/notes.txt",
        "results/micro/tinyworld_gpt2-tiny_single-x1_fp32_seed2",
    ]
    assert of(changed, "versions") == [f"{PROBE}/metrics.jsonl"]
    assert of(changed, "dirty") == [STATISTICS]
    record_property("faults injected", 13)


def test_a_changed_file_is_named_with_both_hashes_and_times(changed: list[str], repository: Repository) -> None:
    file = f"{RUN}/models/best/model.safetensors"
    record = json.loads((repository.folder / RUN / "provenance.json").read_text())
    line = said(changed, "changed", file)
    assert f"recorded {record['outputs'][file][:12]} ({record['ended']}), found " in line
    assert "(written 20" in line


def test_what_was_made_from_a_changed_file_is_stale_and_its_neighbour_is_not(changed: list[str]) -> None:
    stale = of(changed, "stale")
    assert f"{RUN}/evaluate/{ENDINGS}@best.json" in stale
    assert f"{RUN}/evaluate/{ENDINGS}@step-4.json" not in stale
    assert "results/micro/report/loss-by-step.svg" in stale
    # the shard was whole when they were trained, and their index still says so
    assert not {file for file in stale if file.endswith("/metrics.jsonl")}
    line = said(changed, "stale", f"{RUN}/evaluate/{ENDINGS}@best.json")
    assert f"made from another {RUN}/models/best: then " in line


def test_other_code_concerns_what_it_made(changed: list[str]) -> None:
    assert of(changed, "code") == [
        "results/data/tinyworld-dialogues/bpe-512/tokenizer",
        "results/data/tinyworld/bpe-512/tokenizer",
        f"{SUMMARISER}/evaluate/rouge-tinyworld-dialogues-test@best.json",
    ]
    script = "made by another workflow/scripts/tokenizer.py than today's"
    assert said(changed, "code", "results/data/tinyworld/bpe-512/tokenizer").endswith(script)


def test_a_changed_configuration_concerns_what_it_is_about(changed: list[str]) -> None:
    settings = of(changed, "settings")
    assert "results/micro/measure/gpt2-tiny_single-x1_fp32_batch2_sequence64/launch1.json" in settings
    assert not {file for file in settings if not file.startswith(("results/micro/measure", "results/micro/report"))}


def test_versions_and_uncommitted_changes_are_named(changed: list[str]) -> None:
    assert "made with torch 2.0.0 (2." in said(changed, "versions", f"{PROBE}/metrics.jsonl")
    assert said(changed, "dirty", STATISTICS).endswith("): src/trainyard/core/text.py")


def test_what_is_missing_is_named_with_the_command_that_makes_it(changed: list[str]) -> None:
    line = said(changed, "missing", f"{PROBE}/parity.json")
    assert f"snakemake --cores all --config studies=micro -- {PROBE}/parity.json" in line


def test_the_table_counts_and_the_last_line_sums_up(changed: list[str]) -> None:
    head, train = (
        next(line.split() for line in changed if line.lstrip().startswith(name)) for name in ("jobs ", "train ")
    )
    assert head[:2] == ["jobs", "hold"]
    assert train[1:3] == ["3", "0"]
    assert changed[-1].startswith("study micro: ")
    assert "checks failed" in changed[-1]


def test_a_study_that_was_never_run_is_all_missing(tmp_path: Path) -> None:
    made = Repository(tmp_path / "trainyard")
    made.write_study("micro", MICRO)
    done = verify(made.folder)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert {line.partition(":")[0] for line in lines if ": results/" in line} == {"missing"}
    assert lines[-1].startswith("study micro: 75 checks failed")
    assert not (made.folder / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["mikro"], "no study named 'mikro'; did you mean 'micro'?"), (["micro", "--config", "cuda"], "KEY=VALUE")],
)
def test_a_mistake_is_a_sentence(repository: Repository, arguments: list[str], expected: str) -> None:
    done = python(repository.folder, "-m", "trainyard.provenance.verify", *arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
