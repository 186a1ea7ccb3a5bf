import subprocess
import sys
from pathlib import Path

import pytest

from trainyard.core.code_versions import CodeVersion
from trainyard.core.errors import InputError
from trainyard.estimate.parameters import parameters
from trainyard.report.pages import comparison, data, environment, levels, models, overview, parity, scores, sources
from trainyard.tools import terminal_table

from .reading import csv_rows
from .sample_results import against_own

SOURCE = Path(terminal_table.__file__).parents[2]


def test_the_data_table_has_words_and_tokens_of_source_and_target(full, outputs):
    data.tabulate(full.study, statistics=full.statistics, duplicates=full.duplicates, **outputs)
    table = csv_rows(outputs["numbers"])
    assert [row["duplicates"] for row in table] == ["", "12", ""]
    assert [(row["dataset"], row["split"], row["rows"]) for row in table] == [
        ("tinyworld", "train", "20000"),
        ("tinyworld", "test", "1000"),
        ("samsum", "train", "14732"),
    ]
    assert [table[2][key] for key in ("source_words", "source_tokens", "target_words", "target_tokens")] == [
        "94.2",
        "147.1",
        "20.3",
        "26.4",
    ]
    assert "<script>alert" not in outputs["table"].read_text()


def test_the_model_table_has_shape_and_parameters(full, outputs):
    models.tabulate(full.study, models=full.models, **outputs)
    first = csv_rows(outputs["numbers"])[0]
    assert (first["model"], first["family"], first["layers"], first["width"]) == ("gpt2-1m", "gpt2", "4", "128")
    assert int(first["parameters"]) == parameters(full.models["gpt2-1m"])


def test_the_environment_table_says_what_all_runs_share_and_who_differs(full, outputs):
    environment.tabulate(full.study, runs=full.runs, **outputs)
    table = {row["name"]: row for row in csv_rows(outputs["numbers"])}
    assert table["commit of the code"]["value"] == "0123456789abcdef0123456789abcdef01234567"
    assert table["torch"]["runs"] == str(len(full.runs))
    assert table["deepspeed"]["runs_names"] == "gpt2-1m-zero3"
    assert table["memory"]["value"] == "8.00 GiB"


def test_the_environment_table_names_the_commits_of_a_run_of_two_versions(full, outputs):
    versions = [CodeVersion(1, "a" * 16, "1" * 40, False, {}), CodeVersion(51, "b" * 16, "2" * 40, False, {})]
    run = full.add_run("updated", code_versions=versions)
    environment.tabulate(full.study, runs=full.runs, **outputs)
    (row,) = (row for row in csv_rows(outputs["numbers"]) if row["name"] == "versions of the code")
    assert row["runs_names"] == run.name
    assert row["value"] == (
        "trained by two versions of the code, from step 51: commit 111111111111 (code aaaaaaaa), "
        "then commit 222222222222 (code bbbbbbbb)"
    )


def test_every_path_behind_a_figure_exists(full, outputs):
    log = full.root / "logs" / "demo" / "train" / "gpt2-1m-s1.log"
    log.parent.mkdir(parents=True)
    log.write_text("a log")
    sources.tabulate(
        full.study,
        runs=full.runs,
        evaluations=full.evaluations,
        parity=full.parity,
        cells=full.cells,
        shortcuts=full.shortcuts,
        statistics=full.statistics,
        duplicates=full.duplicates,
        **outputs,
    )
    paths = [Path(row["path"]) for row in csv_rows(outputs["numbers"])]
    assert log in paths
    assert {*full.evaluations, *full.parity, *full.cells, *full.shortcuts, *full.statistics, *full.duplicates} <= set(
        paths
    )
    assert all(path.exists() for path in paths)


def test_an_evaluation_leads_back_to_its_rows_and_its_model(empty, outputs):
    run = empty.add_run("r")
    empty.add_evaluation(
        "r", "perplexity", None, rows_sha256="ab" * 32, model_origin={"study": "demo", "run": "r", "step": 400}
    )
    fetched = {"model": "gpt2-1m", "origin": "hub", "source": "org/gpt2", "revision": "0123abc", "files": []}
    empty.add_evaluation("gpt2-1m", "perplexity", None, checkpoint="pretrained", model_origin=fetched)
    none: list[Path] = []
    others = {"parity": none, "cells": none, "shortcuts": none, "statistics": none}
    sources.tabulate(empty.study, runs=[], evaluations=empty.evaluations, **others, **outputs)
    table = [row for row in csv_rows(outputs["numbers"]) if row["what"].startswith("input")]
    results = empty.root / "results"
    read = str(results / "data" / "tinyworld-endings" / "rows" / "test.parquet")
    assert [(row["name"], row["what"], row["path"], row["sha256"]) for row in table] == [
        ("r", "input: rows", read, "ab" * 32),
        ("r", "input: model (study demo, run r, step 400)", str(run / "models" / "best"), ""),
        ("gpt2-1m", "input: rows", read, ""),
        (
            "gpt2-1m",
            "input: model (origin hub, source org/gpt2, revision 0123abc)",
            str(results / "models" / "gpt2-1m"),
            "",
        ),
    ]


def test_the_parity_table_gives_the_verdict_and_why(full, outputs):
    parity.tabulate(full.study, parity=full.parity, **outputs)
    table = {(row["parallel"], row["precision"]): row for row in csv_rows(outputs["numbers"])}
    assert table["zero2", "fp32"]["verdict"] == "within tolerance"
    assert table["zero3", "fp32"]["verdict"] == "no result"
    assert table["zero3", "fp32"]["reason"].startswith("no compiler")


def test_the_parity_table_has_a_row_for_each_reference_of_a_probe(empty, outputs):
    empty.add_parity("ddp", 1e-3, precision="bf16", same_precision=against_own(6e-3, 3e-2))
    parity.tabulate(empty.study, parity=empty.parity, **outputs)
    rows = [
        [row[key] for key in ("against", "largest", "tolerance", "norm", "verdict")]
        for row in csv_rows(outputs["numbers"])
    ]
    assert rows == [
        ["fp32", "0.001", "0.02", "", "within tolerance"],
        ["bf16", "0.006", "0.008", "0.03", "outside tolerance"],
    ]


def test_the_parity_table_says_which_seeded_faults_a_precision_finds(empty, outputs):
    empty.add_parity("ddp", 1e-7)
    empty.add_parity("ddp", 1e-3, precision="bf16")
    parity.tabulate(empty.study, parity=empty.parity, **outputs)
    page = outputs["table"].read_text()
    assert "Faults seeded in gpt2-tiny in fp32" in page
    assert "Not found: clipping off." in page
    assert "Faults seeded in gpt2-tiny in bf16" in page
    assert "All are found." in page


def test_the_parity_table_says_over_which_steps_and_why_so_far(empty, outputs):
    empty.add_parity("ddp", 1e-7)
    empty.add_parity("ddp", 1e-3, precision="bf16")
    parity.tabulate(empty.study, parity=empty.parity, **outputs)
    assert [(row["steps"], row["compared_steps"]) for row in csv_rows(outputs["numbers"])] == [
        ("100", "100"),
        ("100", "20"),
    ]
    page = outputs["table"].read_text()
    assert "The tolerance of 2e\N{MINUS SIGN}2 in bf16 over the first 20 steps: the order of summation." in page
    assert "The tolerance of 1e\N{MINUS SIGN}6 in fp32: the order of summation." in page


def test_the_level_table_sets_shortcuts_and_chance_below_the_models(full, outputs):
    levels.tabulate(full.study, runs=full.runs, evaluations=full.evaluations, shortcuts=full.shortcuts, **outputs)
    table = csv_rows(outputs["numbers"])
    assert [row["model"] for row in table] == [
        "gpt2-1m",
        "gpt2-500k",
        "gpt2-250k",
        "likeliest ending",
        "last place mentioned",
        "most frequent ending",
        "chance",
    ]
    assert (table[0]["facts"], table[0]["facts_n"]) == ("0.97", "500")


def test_the_overview_holds_everything_in_one_file(full, tmp_path):
    scores.draw(full.study, runs=full.runs, evaluations=full.evaluations, output=tmp_path / "scores.svg")
    overview.write(
        full.study,
        runs=full.runs,
        evaluations=full.evaluations,
        parity=full.parity,
        cells=full.cells,
        shortcuts=full.shortcuts,
        models=full.models,
        figures={"Scores <script>": tmp_path / "scores.svg"},
        output=tmp_path / "overview.html",
    )
    page = (tmp_path / "overview.html").read_text()
    assert full.study.question in page
    assert "What the figures say" in page
    assert page.count("<script>") == 1  # our own
    assert 'src="data:image/svg+xml;base64,' in page
    assert "<link" not in page


def test_the_terminal_table_lines_up(full, outputs):
    comparison.tabulate(full.study, runs=full.runs, evaluations=full.evaluations, parity=full.parity, **outputs)
    lines = terminal_table.table(outputs["numbers"]).splitlines()
    assert len(lines) == 3 + len(full.runs)
    assert lines[2].split()[:4] == ["gpt2-1m", "single", "base", "finished"]
    assert "54.2 ± 1.1 [52.1, 56.4]" in lines[2]
    assert all(line[lines[0].index("outcome") - 1] == " " for line in lines[2:-1])
    assert lines[-1] == "all runs: precision fp32"


def test_the_terminal_shows_levels_and_parity_from_the_files_beside_the_comparison(full, tmp_path):
    there = {"table": tmp_path / "c.html", "numbers": tmp_path / "comparison.csv"}
    comparison.tabulate(full.study, runs=full.runs, evaluations=full.evaluations, parity=full.parity, **there)
    there["numbers"] = tmp_path / "levels.csv"
    levels.tabulate(full.study, runs=full.runs, evaluations=full.evaluations, shortcuts=full.shortcuts, **there)
    there["numbers"] = tmp_path / "parity.csv"
    parity.tabulate(full.study, parity=full.parity, **there)
    text = terminal_table.table(tmp_path / "comparison.csv")
    lines = text.split("accuracy, %, on tinyworld-endings test, completion, 0-shot\n")[1].splitlines()
    assert lines[0].split()[:4] == ["model", "all", "items", "facts"]
    assert "97.0 ± 0.8 [95.1, 98.2]" in lines[2]
    assert "parity in fp32: 4 of 4 parallel settings within 1e\N{MINUS SIGN}6 of the reference" in text
    assert "largest 2.4e\N{MINUS SIGN}7 (zero2); zero3 unsupported" in text


def test_the_terminal_table_says_what_is_wrong_with_a_file(tmp_path, capsys):
    with pytest.raises(InputError, match="no such file; run the study first"):
        terminal_table.table(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert terminal_table.main([str(tmp_path / "other.csv")]) == 1
    assert "no column `model`" in capsys.readouterr().err


def test_the_report_imports_no_framework():
    files = (path.relative_to(SOURCE).with_suffix("") for path in SOURCE.glob("trainyard/report/**/*.py"))
    names = sorted(".".join(path.parts) for path in files if path.name != "__init__")
    code = "import sys\n" + "".join(f"import {name}\n" for name in names)
    code += "sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=SOURCE, check=False)
    assert done.returncode == 0


def test_a_probe_whose_reference_failed_has_no_result(empty, outputs):
    empty.add_parity("ddp", None, reason="its reference ended as out-of-memory")
    parity.tabulate(empty.study, parity=empty.parity, **outputs)
    row = csv_rows(outputs["numbers"])[0]
    assert (row["verdict"], row["reason"]) == ("no result", "its reference ended as out-of-memory")


def test_the_terminal_says_once_what_trained_runs_share_beside_a_pretrained_model(empty, outputs):
    empty.add_run("r")
    empty.add_evaluation("gpt2-1m", "perplexity", {"perplexity_word": (40.0, 1.0)}, checkpoint="pretrained")
    comparison.tabulate(empty.study, runs=empty.runs, evaluations=empty.evaluations, parity=[], **outputs)
    lines = terminal_table.table(outputs["numbers"]).splitlines()
    assert "precision" not in lines[0]
    assert lines[-1] == "all runs: parallel single, precision fp32"


def test_a_study_of_probes_and_measurements_alone_has_a_comparison_and_an_overview(empty, outputs, tmp_path):
    empty.add_parity("ddp", 1e-7)
    empty.add_cell("ddp", 8, 1000.0)
    empty.add_search("ddp", 12)
    comparison.tabulate(empty.study, runs=[], evaluations=[], parity=empty.parity, **outputs)
    overview.write(
        empty.study,
        runs=[],
        evaluations=[],
        parity=empty.parity,
        cells=empty.cells,
        shortcuts=[],
        models=empty.models,
        figures={},
        output=tmp_path / "overview.html",
    )
    page = (tmp_path / "overview.html").read_text()
    assert "ddp in fp32 deviates by 1e\N{MINUS SIGN}7 at most" in page
    assert "Largest batch that fits: 12 sequences per process, under ddp." in page
