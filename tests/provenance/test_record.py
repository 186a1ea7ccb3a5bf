"""The record that a job leaves."""

import getpass
import socket
from pathlib import Path
from typing import Any

import pytest

from trainyard.core.errors import InputError
from trainyard.core.files import read_json, sha256_file, sha256_path, write_json
from trainyard.core.job import Job
from trainyard.provenance.record import record_job


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with inputs in it."""
    monkeypatch.chdir(tmp_path)
    Path("results/data/d/t/train").mkdir(parents=True)
    Path("results/data/d/t/train/index.json").write_text("{}")
    Path("results/data/d/t/train/shard.bin").write_bytes(b"tokens")
    for checkpoint in ("best", "last"):
        model = Path("results/s/r/models", checkpoint)
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(checkpoint.encode())
    return tmp_path


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "input": {"tokens": "results/data/d/t/train", "none": [], "models": "results/s/r/models"},
        "output": {"result": "results/s/r/evaluate/e@best.json", "folder": "results/s/r/texts"},
        "params": {"code": "c0de", "specification": {"metric": "m", "settings": {"device": "cpu"}}},
        "wildcards": {"study": "s", "run": "r", "evaluation": "e", "checkpoint": "best"},
        "threads": 1,
        "log": "logs/s/evaluate/r/e@best.log",
        "command": ["snakemake", "--", "results/s/r/evaluate/e@best.json"],
    }
    return Job(**values | changes)


def work(done: Job) -> None:
    write_json(done.output["result"], {"value": 1})
    Path(done.output["folder"], "deep").mkdir(parents=True)
    Path(done.output["folder"], "deep", "a.txt").write_text("a")


def test_a_job_leaves_a_record_of_what_it_read_and_wrote() -> None:
    done = job()
    record_job(done, work)
    found = read_json("results/s/provenance/evaluate/r/e@best.json")
    assert found["outputs"] == {
        name: sha256_file(name) for name in ("results/s/r/evaluate/e@best.json", "results/s/r/texts/deep/a.txt")
    }
    assert (found["code"], found["command"]) == ("c0de", done.command)
    assert found["started"] <= found["ended"]
    assert found["memory"] > 1e9
    assert found["gpu"] is None


def test_a_job_by_hand_with_a_log_of_its_own_has_its_record_beside_that() -> None:
    record_job(job(log="try.log"), work)
    assert read_json("try.record.json")["code"] == "c0de"


def test_tokens_stand_by_their_index_and_models_by_the_checkpoint_that_was_read() -> None:
    record_job(job(), work)
    found = read_json("results/s/provenance/evaluate/r/e@best.json")["inputs"]
    assert found == {
        "results/data/d/t/train": sha256_file("results/data/d/t/train/index.json"),
        "results/s/r/models/best": sha256_path("results/s/r/models/best"),
    }


def test_the_mark_that_snakemake_leaves_in_a_folder_changes_no_hash() -> None:
    before = sha256_path("results/s/r/models")
    Path("results/s/r/models/.snakemake_timestamp").touch()
    assert sha256_path("results/s/r/models") == before
    Path("results/s/r/models/best/config.json").write_text("{}")
    assert sha256_path("results/s/r/models") != before


def test_a_runs_record_is_its_provenance_json_and_names_the_packages_of_the_trainer() -> None:
    output = {"summary": "results/s/r/summary.json", "provenance": "results/s/r/provenance.json"}
    params = {"code": "c0de", "specification": {"device": "cpu", "parallel": {"packages": []}}}
    done = job(output=output, params=params, wildcards={"study": "s", "run": "r"})
    versions = [{"step": 1, "code": "c0de", "commit": None, "dirty": None, "packages": {}}]
    record_job(done, lambda at: write_json(at.output["summary"], {"code_versions": versions}))
    found = read_json("results/s/r/provenance.json")
    assert list(found["outputs"]) == ["results/s/r/summary.json"]
    assert found["code_versions"] == versions
    assert found["versions"]["torch"].startswith("2.")
    assert "colossalai" in found["versions"]
    assert not Path("results/s/provenance").exists()


def test_settings_have_one_hash_whatever_the_code_and_the_machine() -> None:
    def settings(**params: Any) -> str:
        record_job(job(params={"specification": {}, **params}), work)
        Path("results/s/r/texts/deep/a.txt").unlink()
        Path("results/s/r/texts/deep").rmdir()
        return read_json("results/s/provenance/evaluate/r/e@best.json")["settings"]

    before = settings(code="a", ngram=13, capabilities={"device": "cpu"}, unsupported=None)
    assert settings(code="b", ngram=13, capabilities={"device": "cuda"}, unsupported="no") == before
    assert settings(code="a", ngram=12, capabilities={"device": "cpu"}, unsupported=None) != before


def test_a_record_names_no_machine_no_user_and_no_folder_of_theirs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "rented-17.example.org")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6")
    done = job(mirror=str(folder / "mirror"), interpreters={"colossalai": str(folder / "bin" / "python")})
    record_job(done, work)
    text = Path("results/s/provenance/evaluate/r/e@best.json").read_text()
    for secret in ("rented-17", "hf_secret", "8932f937", str(folder), str(Path.home()), f"/{getpass.getuser()}/"):
        assert secret not in text


def test_a_job_that_fails_leaves_no_record() -> None:
    def fails(_: Job) -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        record_job(job(), fails)
    assert not list(Path().rglob("provenance"))


def test_an_input_that_is_not_there_is_a_sentence_before_anything_is_done() -> None:
    rows = "results/data/d/rows/test.parquet"
    with pytest.raises(InputError, match=f"{rows}: no such file or folder; let Snakemake make it: snakemake --"):
        record_job(job(input={"rows": rows}), work)
    assert not Path("results/s/r/evaluate").exists()
