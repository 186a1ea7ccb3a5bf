import pytest

from trainyard.report.pages import memory, predicted_memory, speed, stacked_bars, step_time
from trainyard.report.results.measurements import read_cells, select_comparable
from trainyard.report.results.published import PUBLISHED

from .reading import csv_rows, svg_text

FAILED = {"outcome": "out-of-memory", "reason": "rank 0, step 1"}


def drawn(figure, results, **more):
    """All text of a figure."""
    figure.draw(results.study, cells=results.cells, output=results.root / "a.svg", **more)
    return svg_text(results.root / "a.svg")


def tabulated(results):
    """The rows of the table's CSV, and its page."""
    speed.tabulate(results.study, cells=results.cells, table=results.root / "t.html", numbers=results.root / "t.csv")
    return csv_rows(results.root / "t.csv"), (results.root / "t.html").read_text()


def test_cells_compare_at_the_largest_batch_at_which_most_settings_finished(empty):
    for parallel, fits in (("ddp", 16), ("fsdp", 32), ("zero2", 16)):
        for batch in (8, 16, 32):
            if batch <= fits:
                empty.add_cell(parallel, batch, 1000.0)
            else:
                empty.add_cell(parallel, batch, None, **FAILED)
    empty.add_cell("ddp", 4, 500.0, model="bart-tiny")
    chosen = [(cell["model"], cell["parallel"], cell["batch"]) for cell in select_comparable(read_cells(empty.cells))]
    at = [("gpt2-1m", parallel, 16) for parallel in ("ddp", "fsdp", "zero2")]
    assert chosen == [*at, ("bart-tiny", "ddp", 4)]


def test_where_batches_differ_the_figure_is_a_heat_map_that_marks_what_ran_out_of_memory(empty):
    empty.add_cell("ddp", 8, 12_300.0)
    empty.add_cell("ddp", 32, None, **FAILED)
    empty.add_cell("hybrid", 8, None, "unsupported", "no package")
    text = drawn(speed, empty)
    for part in (
        "batch per process",
        "12.3k",
        "267 MiB",
        "out of memory",
        "unsupported here (why: in the table): hybrid",
    ):
        assert part in text


def test_at_one_batch_the_figure_is_bars_with_the_outcome_where_there_is_no_speed(empty):
    empty.add_cell("ddp", 8, 12_300.0)
    empty.add_cell("fsdp", 8, None, **FAILED)
    text = drawn(speed, empty)
    assert "12,300" in text
    assert "out-of-memory" in text


def test_each_model_and_precision_has_a_pair_of_maps(empty):
    for model in ("gpt2-1m", "bart-tiny"):
        for batch in (4, 8):
            empty.add_cell("ddp", batch, 1000.0, model=model)
    text = drawn(speed, empty)
    assert text.count("Tokens per second") == 2
    assert "gpt2-1m" in text
    assert "bart-tiny" in text


def test_where_time_goes_names_the_largest_part_besides_compute(empty):
    empty.add_cell("ddp", 8, 1000.0)
    empty.add_cell("fsdp", 8, 1000.0, breakdown=None, breakdown_reason="torch's profiler did not start")
    empty.add_cell("zero2", 8, None, **FAILED)
    text = drawn(step_time, empty)
    assert "100 ms, 20 % communication" in text
    assert "torch's profiler did not start" in text
    assert "out-of-memory" in text


def test_a_study_without_a_profile_says_so(empty):
    empty.add_cell("ddp", 8, 1000.0, breakdown=None)
    assert "No step of" in drawn(step_time, empty)


def test_prediction_stands_beside_the_measured_increase_with_its_error(empty):
    empty.add_cell("ddp", 8, 1000.0, prediction_error=-0.042)
    empty.add_cell("fsdp", 8, None, **FAILED)
    empty.add_cell("hybrid", 8, 1000.0, predicted_memory=None, prediction_error=None)
    text = drawn(predicted_memory, empty)
    assert "360 MiB, \N{MINUS SIGN}4.2 %" in text
    assert "360 MiB, out-of-memory" in text
    assert "measured increase" in text
    assert "hybrid" not in text


SMALL = {
    **dict.fromkeys(("parameters", "gradients", "optimizer", "activations", "buffers"), 2e7),
    **{"total": 1e8, "kind": "host", "host": 0, "moment": "the backward pass"},
}


def test_a_prediction_that_is_far_too_high_is_told_however_little_was_measured(empty):
    empty.add_cell("ddp", 8, 1000.0, peak_memory_increase=2.6e7, prediction_error=9.0)
    assert "+900.0 %" in drawn(predicted_memory, empty)


def test_where_libraries_outweigh_the_model_no_error_of_a_prediction_is_told_but_why(empty):
    empty.add_cell("ddp", 8, 1000.0, prediction_error=5.93, predicted_memory=SMALL)
    text = drawn(predicted_memory, empty)
    why = "where less than 256 MiB is predicted library overhead outweighs the model, so no error is given"
    assert "%" not in text
    assert why in text
    (row,), page = tabulated(empty)
    assert row["prediction_error"] == ""
    assert why in page
    assert "593" not in page


def test_of_more_predictions_than_fit_those_that_compare_are_drawn(empty):
    for index in range(stacked_bars.MOST):
        for batch in (8, 16):
            empty.add_cell(f"s{index}", batch, 1000.0)
    text = drawn(predicted_memory, empty)
    assert "batch 16" in text
    assert "batch 8" not in text


def test_memory_by_step_marks_the_phases(empty):
    empty.add_cell("gemini", 8, 1000.0, device=True)
    empty.add_cell("ddp", 8, 1000.0, device=True)
    text = drawn(memory, empty, runs=[])
    for part in ("gemini", "ddp", "warm-up", "placed", "device memory", "host memory", "MiB"):
        assert part in text


def test_a_setting_that_was_not_measured_is_shown_by_its_longest_run(empty):
    empty.add_cell("ddp", 8, 1000.0)
    empty.add_run("long", parallel="fsdp", steps=200)
    empty.add_run("short", parallel="fsdp", model="gpt2-250k", steps=20)
    empty.add_run("other", parallel="ddp")
    empty.add_run("reference", parallel="reference")
    empty.add_run("never", parallel="zero3", outcome="unsupported", reason="no package", steps=0)
    text = drawn(memory, empty, runs=empty.runs)
    assert "fsdp \N{MIDDLE DOT} run of gpt2-1m" in text
    for part in ("gpt2-250k", "ddp \N{MIDDLE DOT} run", "reference", "zero3", "device memory"):
        assert part not in text


def test_the_table_has_a_row_a_cell_and_the_largest_batch_beside_it(full):
    table, page = tabulated(full)
    cells = read_cells(full.cells)
    assert len(table) == len(cells)
    assert (table[-1]["outcome"], table[-1]["tokens_per_second"]) == ("out-of-memory", "")
    assert {row["largest_batch"] for row in table if row["parallel"] == "ddp"} == {"96"}
    assert {row["largest_batch"] for row in table if row["parallel"] == "zero2"} == {""}
    assert table[-1]["reason"] in "".join(cell["reason"] or "" for cell in cells)
    assert "<script>alert" not in page


def test_a_search_of_what_no_cell_measures_has_a_row_of_its_own(empty):
    empty.add_cell("ddp", 8, 1000.0)
    empty.add_search("zero3", 40, bound=40)
    empty.add_search("hybrid", None, "no package")
    table, page = tabulated(empty)
    assert "\N{GREATER-THAN OR EQUAL TO} 40" in page
    assert [(row["parallel"], row["batch"], row["largest_batch"], row["reason"]) for row in table] == [
        ("ddp", "8", "", ""),
        ("zero3", "", "40", ""),
        ("hybrid", "", "", "no package"),
    ]


def test_the_table_has_the_memory_of_each_rank_and_what_was_predicted(empty):
    empty.add_cell("ddp", 8, 1000.0)
    (row,), page = tabulated(empty)
    assert float(row["host_memory"]) == float(row["host_memory_rank1"]) == 5.81e8
    assert float(row["host_memory_rank0"]) == 5.8e8
    assert float(row["host_memory_increase"]) == pytest.approx(2.8e8)
    assert (float(row["predicted_memory"]), float(row["predicted_memory_optimizer"])) == (3.78e8, 2.8e8)
    assert row["prediction_error"] == "0.1"
    assert "+10.0" in page
    assert "the peak: the backward pass" in page


def test_columns_without_a_value_are_not_shown(empty):
    empty.add_cell("ddp", 8, 1000.0, model="bart-tiny")
    _, page = tabulated(empty)
    assert "6N + 12LHQT" in page
    for heading in ("Megatron", "device memory per process", "largest", "why there is no result"):
        assert heading not in page


def test_one_device_and_one_limit_are_notes(empty):
    limit = {"kind": "host", "bytes": 300_000_000}
    for batch in (8, 16):
        empty.add_cell("ddp", batch, 1000.0, memory_limit=limit, device_name="A device")
    _, page = tabulated(empty)
    assert "Measured on A device." in page
    assert "sequence 128 \N{MIDDLE DOT} limit 0.3 GB of host memory." in page
    assert ">device</button>" not in page
    assert ">limit of memory</button>" not in page
    empty.add_cell("fsdp", 8, 1000.0, device_name="Another")
    table, page = tabulated(empty)
    assert ">device</button>" in page
    assert ">limit of memory</button>" in page
    assert [row["limit"] for row in table] == ["0.3 GB of host memory"] * 2 + ["no limit"]


def test_cells_under_a_limit_or_with_activations_recomputed_stand_apart(empty):
    for batch in (8, 16):
        empty.add_cell("ddp", batch, 1000.0)
        empty.add_cell("ddp", batch, None, **FAILED, memory_limit={"kind": "host", "bytes": 300_000_000})
        empty.add_cell("ddp", batch, 900.0, activation_checkpointing=True)
    text = drawn(speed, empty)
    assert text.count("Tokens per second") == 3
    assert "limit 0.3 GB of host memory \N{MIDDLE DOT} activations kept" in text
    assert "no limit \N{MIDDLE DOT} activations recomputed" in text


def test_what_all_measured_cells_share_is_a_note(full):
    table, page = tabulated(full)
    assert "All cells: gpt2-1m \N{MIDDLE DOT} 2 processes \N{MIDDLE DOT} fp32 \N{MIDDLE DOT} sequence 128." in page
    assert ">measured</button>" in page
    assert ">precision</button>" not in page
    assert table[0]["precision"] == "fp32"


PUBLISHED_CELL = {
    "model": "gpt2-1m",
    "parallel": "ddp",
    "cell": {"processes": 2, "precision": "fp32", "batch": 8, "sequence_length": 128},
    "values": {"samples_per_second": 99.0, "peak_memory_gib": 1.5},
    "protocol": "one T4",
    "source": "a benchmark",
}


def published(empty, *entries):
    return empty.study.model_validate(empty.study.model_dump() | {"published": [*entries]})


def test_a_published_measurement_stands_below_our_row_of_the_same_cell_and_never_wins(empty):
    for parallel in ("ddp", "fsdp"):
        empty.add_cell(parallel, 8, 1000.0, device=True)
    empty.study = published(empty, {**PUBLISHED_CELL, "values": {"samples_per_second": 99.0, "peak_memory_gib": 0.01}})
    rows, page = tabulated(empty)
    assert [(row["parallel"], row["outcome"]) for row in rows] == [
        ("ddp", "finished"),
        ("ddp", "published"),
        ("fsdp", "finished"),
    ]
    assert (float(rows[1]["samples_per_second"]), float(rows[1]["device_memory"])) == (99.0, 0.01 * 2**30)
    assert rows[1]["source"] == "a benchmark: one T4"
    assert 'best" data-value="99.0"' not in page
    assert f'best" data-value="{0.01 * 2**30}"' not in page


@pytest.mark.parametrize(
    ("name", "value", "heading"),
    [
        ("model", "gpt2-500k", "model"),
        ("parallel", "fsdp", "parallel setting"),
        ("processes", 1, "processes"),
        ("precision", "fp16", "precision"),
        ("batch", 16, "measured"),
        ("sequence_length", 64, "sequence"),
        ("activation_checkpointing", True, "activations"),
    ],
)
def test_a_published_measurement_of_another_cell_stands_apart_with_its_own_coordinates(empty, name, value, heading):
    for batch in (8, 32):
        empty.add_cell("ddp", batch, 1000.0)
    whole = name in ("model", "parallel")
    other = {name: value} if whole else {"cell": {**PUBLISHED_CELL["cell"], name: value}}
    empty.study = published(empty, {**PUBLISHED_CELL, **other})
    rows, page = tabulated(empty)
    assert [row["section"] for row in rows] == ["", "", PUBLISHED]
    assert f">{heading}</button>" in page


def test_what_no_cell_of_ours_has_gets_no_column(empty):
    empty.add_cell("ddp", 8, 1000.0)
    empty.study = published(empty, PUBLISHED_CELL)
    _, page = tabulated(empty)
    assert "device memory per process" not in page
    assert "99.00" in page


def load(before, during):
    return {"other_load": {"before": before, "during": during}}


def test_what_other_processes_took_stands_beside_each_cell_and_below_the_table(empty):
    empty.add_cell("ddp", 8, 1000.0, **load(0.02, 0.38))
    empty.add_cell("fsdp", 8, 1000.0, **load(0.0, 0.01))
    rows, page = tabulated(empty)
    assert [(float(row["others"]), float(row["others_before"])) for row in rows] == [(0.38, 0.02), (0.01, 0.0)]
    assert "other processes used up to 38 % of the cores, and 5 % or more in 1 of 2 cells" in page
    assert "nothing else running" not in page


@pytest.mark.parametrize(
    ("more", "said"), [(load(0.0, 0.04), "nothing else running"), ({"other_load": None}, "unknown what else ran")]
)
def test_nothing_else_is_said_to_run_where_that_was_measured_alone(empty, more, said):
    empty.add_cell("ddp", 8, 1000.0, **more)
    _, page = tabulated(empty)
    assert f"warm-up steps left out; {said}." in page


def test_a_framework_that_crashed_says_what_it_said_in_the_table_and_the_log_behind_it(empty):
    empty.add_cell("gemini", 8, None, "failed", "colossalai crashed: KeyError\nThe last lines of a.log:\nTraceback")
    (row,), page = tabulated(empty)
    assert row["outcome"] == "failed"
    assert ">colossalai crashed: KeyError</span>" in page
    assert "The last lines of a.log:" in page


def test_a_window_of_attention_is_told_beside_how_the_model_runs(empty):
    empty.add_cell("ddp", 8, 1000.0, attention={"window": 128})
    empty.add_cell("fsdp", 8, 1000.0)
    assert {cell["mode"] for cell in read_cells(empty.cells)} == {"eager, window of 128", "eager"}
