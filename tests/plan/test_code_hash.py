"""The hash of the code that a rule runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainyard.plan import code_hash


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `p`: main imports helper (relatively) and p.deep.leaf; lonely is imported by none."""
    root = tmp_path / "src"
    (root / "p" / "deep").mkdir(parents=True)
    (root / "p" / "__init__.py").write_text("")
    (root / "p" / "deep" / "__init__.py").write_text("")
    (root / "p" / "main.py").write_text("import json\nfrom . import helper\nfrom p.deep.leaf import grow\n")
    (root / "p" / "helper.py").write_text('"""Doc."""\nx = 1  # a comment\n')
    (root / "p" / "deep" / "leaf.py").write_text("from ..helper import x\ndef grow(): return x\n")
    (root / "p" / "lonely.py").write_text("y = 1\n")
    monkeypatch.setattr(code_hash, "SOURCE", root)
    forget()
    yield root / "p"
    forget()


def forget() -> None:
    for cached in (
        code_hash.find_source,
        code_hash._load_cache,
        code_hash._parse_cached,
        code_hash.import_closure,
        code_hash.code_hash,
    ):
        cached.cache_clear()


def hash_after(file: Path, text: str) -> str:
    file.write_text(text)
    forget()
    return code_hash.code_hash("p.main")


def test_the_closure_follows_absolute_and_relative_imports(package: Path) -> None:
    assert code_hash.import_closure("p.main") == ("p", "p.deep", "p.deep.leaf", "p.helper", "p.main")


def test_a_change_of_code_changes_the_hash(package: Path) -> None:
    before = code_hash.code_hash("p.main")
    assert hash_after(package / "deep" / "leaf.py", "from ..helper import x\ndef grow(): return x + 1\n") != before


def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    before = code_hash.code_hash("p.main")
    assert hash_after(package / "helper.py", '"""Another."""\n\n\nx = (1)\n') == before


def test_a_module_that_is_not_imported_does_not_count(package: Path) -> None:
    before = code_hash.code_hash("p.main")
    assert hash_after(package / "lonely.py", "y = 2\n") == before


def test_only_the_engine_and_the_family_of_a_run_are_in_its_closure() -> None:
    forget()
    names = code_hash.import_closure("trainyard.train.job", "trainyard.train.worker", "trainyard.parallel.pytorch.ddp")
    assert "trainyard.parallel.pytorch.ddp" in names
    assert not {
        "trainyard.parallel.deepspeed.engine",
        "trainyard.parallel.pytorch.fsdp",
        "trainyard.models.bart",
    } & set(names)


def test_an_evaluation_knows_nothing_of_training() -> None:
    forget()
    names = code_hash.import_closure("trainyard.evaluate.rouge")
    assert not [name for name in names if name.startswith(("trainyard.train", "trainyard.parallel"))]


@pytest.mark.parametrize("entry", ["trainyard.train.job", "trainyard.train.worker", "trainyard.measure.throughput"])
def test_a_training_knows_nothing_of_what_studies_ask_for_besides(entry: str) -> None:
    forget()
    names = code_hash.import_closure(entry)
    assert "trainyard.config.catalogue" in names
    assert not {
        "trainyard.config.study",
        "trainyard.plan.runs",
        "trainyard.plan.study",
        "trainyard.plan.configuration",
    } & set(names)
    assert not [name for name in names if name.startswith(("trainyard.report", "trainyard.evaluate"))]


@pytest.mark.parametrize("entry", ["trainyard.train.worker", "trainyard.measure.throughput"])
def test_a_peak_is_no_matter_of_what_runs_on_a_device(entry: str) -> None:
    forget()
    names = code_hash.import_closure(entry)
    assert not {"trainyard.hardware.peak_flops", "trainyard.hardware.device_peak"} & set(names)


def test_what_is_kept_of_a_module_is_what_parsing_it_again_gives(package: Path) -> None:
    first = code_hash.code_hash("p.main")
    (kept,) = (package.parents[1] / ".snakemake").iterdir()
    whole = kept.read_bytes()
    forget()
    assert code_hash.code_hash("p.main") == first
    kept.unlink()
    forget()
    assert code_hash.code_hash("p.main") == first
    assert kept.read_bytes() == whole


def test_where_nothing_can_be_kept_the_hash_is_the_same(package: Path) -> None:
    first = code_hash.code_hash("p.main")
    folder = package.parents[1] / ".snakemake"
    shutil.rmtree(folder)
    folder.symlink_to("/sys")  # where nobody may write
    forget()
    assert code_hash.code_hash("p.main") == first


@pytest.mark.parametrize("text", ["", "{"])
def test_a_damaged_file_of_what_was_parsed_is_written_anew(package: Path, text: str) -> None:
    before = code_hash.code_hash("p.main")
    (kept,) = (package.parents[1] / ".snakemake").iterdir()
    whole = kept.read_bytes()
    kept.write_text(text)
    forget()
    assert code_hash.code_hash("p.main") == before
    assert kept.read_bytes() == whole
