import pytest

from trainyard.core.code_versions import CodeVersion
from trainyard.core.statistics import Score
from trainyard.report.pages.cells import score_cell
from trainyard.report.pages.comparison import compare, tabulate
from trainyard.report.render.html import find_best_cells
from trainyard.report.results.probes import read_comparisons
from trainyard.report.results.published import PUBLISHED, matches
from trainyard.report.results.runs import read_evaluations, read_runs

from .reading import csv_rows
from .sample_results import against_own


def made(results, peaks=()):
    return compare(
        results.study,
        read_runs(results.runs),
        read_evaluations(results.evaluations),
        read_comparisons(results.parity),
        peaks=peaks,
    )


def row_of(table, name):
    return next(row.cells for row in table.rows if row.cells["run"].value == name)


def test_every_run_has_a_row_with_its_outcome_and_reason(full):
    table = made(full)
    outcomes = {row.cells["run"].value: row.cells["outcome"].text for row in table.rows if not row.section}
    assert outcomes == {
        "gpt2-1m-s1": "finished",
        "gpt2-500k-s1": "finished",
        "gpt2-250k-s1": "finished",
        "gpt2-1m-hot": "diverged",
        "gpt2-1m-zero3": "unsupported",
        "gpt2-1m-ddp": "out-of-memory",
    }
    assert row_of(table, "gpt2-1m-hot")["outcome"].tip == "loss not finite at step 60"


def test_a_run_that_went_on_under_other_code_is_named_with_the_step(full):
    versions = [CodeVersion(1, "a" * 16, "1" * 40, False, {}), CodeVersion(51, "b" * 16, "2" * 40, False, {})]
    full.add_run("updated", recipe="long", code_versions=versions)
    full.add_run("not-updated", recipe="short", code_versions=versions[:1])
    table = made(full)
    (note,) = (note for note in table.notes if "versions of the code" in note)
    assert note.endswith("long: trained by two versions of the code, from step 51. Point at the run for the commits.")
    assert "then commit 222222222222 (code bbbbbbbb)" in row_of(table, "updated")["run"].tip
    assert "commit" not in row_of(table, "not-updated")["run"].tip


def test_the_coordinates_that_vary_are_columns_and_the_others_are_not(full):
    keys = [column.key for column in made(full).columns]
    assert keys[:5] == ["run", "model", "parallel", "recipe", "precision"]
    assert "seed" not in keys
    assert "checkpoint" not in keys


def test_scores_stand_with_error_protocol_and_number_of_items(full):
    table = made(full)
    key = next(column.key for column in table.columns if column.key.endswith(":acc"))
    cell = row_of(table, "gpt2-1m-s1")[key]
    assert (cell.text, cell.detail) == ("54.2", "± 1.1\n[52.1, 56.4]")
    assert cell.tip.startswith("n = 2,000; how it was done")
    assert "shots 0" in cell.tip
    assert cell.more["n"] == 2000


def test_a_run_without_a_model_shows_why_it_has_no_score(full):
    table = made(full)
    key = next(column.key for column in table.columns if column.key.endswith(":perplexity_word"))
    assert row_of(table, "gpt2-1m-hot")[key].tip.startswith("no model:")


def test_published_rows_stand_apart_with_their_source_and_never_win(full):
    table = made(full)
    published = next(row for row in table.rows if row.section == PUBLISHED)
    assert published.cells["source"].value == full.study.published[0].source
    assert published.cells["validation_loss"].value == 1.21  # lower than any of ours
    best, near = find_best_cells(table)
    assert not {id(cell) for cell in published.cells.values()} & (best | near)


def test_published_samples_a_second_stand_beside_those_of_our_runs(full):
    columns = {column.key: column for column in made(full).columns}
    assert not columns["samples_per_second"].shown
    published = [{"model": "m", "values": {"samples_per_second": 99}, "protocol": "p", "source": "s"}]
    full.study = full.study.model_validate(full.study.model_dump() | {"published": published})
    table = made(full)
    assert next(column for column in table.columns if column.key == "samples_per_second").shown
    assert row_of(table, "gpt2-1m-s1")["samples_per_second"].value == pytest.approx(16 / 0.1)


GENERATED = {
    "timed_rows": 30,
    "timed_tokens": 600,
    "timed_seconds": 20.0,
    "source_positions": 4000,
    "source_padding": 1000,
    "left_out": "1 of 4 batches: the first",
    "timing": "shared",
}


def test_generation_has_columns_where_a_run_of_ours_was_timed(full):
    values = {"samples_per_second": 99, "generation_samples_per_second": 31.5}
    published = [{"model": "m", "values": values, "protocol": "p", "source": "s"}]
    full.study = full.study.model_validate(full.study.model_dump() | {"published": published})
    keys = {"generation_samples_per_second", "generated_tokens_per_second"}
    assert not keys & {column.key for column in made(full).columns}
    full.add_evaluation("gpt2-1m-s1", "rouge", {"rouge1": (30.0, 1.0)}, dataset="d", generation=GENERATED)
    table = made(full)
    assert keys <= {column.key for column in table.columns if column.shown}
    cells = row_of(table, "gpt2-1m-s1")
    assert (cells["generation_samples_per_second"].value, cells["generated_tokens_per_second"].value) == (1.5, 30.0)
    assert cells["generation_samples_per_second"].tip == (
        "30 rows in 20 s, without 1 of 4 batches: the first; 25 % of the sources' positions are padding"
    )
    theirs = next(row for row in table.rows if row.section == PUBLISHED)
    assert theirs.cells["generation_samples_per_second"].value == 31.5


def test_a_published_measurement_is_no_row_of_the_comparison(full):
    cell = {"processes": 1, "precision": "fp32", "batch": 8, "sequence_length": 64}
    entry = {"model": "m", "parallel": "ddp", "cell": cell, "values": {"samples_per_second": 99}}
    entry |= {"protocol": "p", "source": "s"}
    full.study = full.study.model_validate(full.study.model_dump() | {"published": [entry]})
    assert PUBLISHED not in {row.section for row in made(full).rows}


def test_a_published_score_of_another_protocol_gets_a_column_of_its_own(full):
    table = made(full)
    published = next(row.cells for row in table.rows if row.section == PUBLISHED)
    assert published[":acc_norm"].value == pytest.approx(0.3114)
    assert ":acc_norm" in {column.key for column in table.columns}


def test_a_published_score_of_the_same_protocol_shares_the_column(empty):
    empty.add_run("r")
    values = {"acc": (0.3, 0.01), "acc_norm": (0.31, 0.01)}
    for protocol, shots in (("harness", 0), ("harness", 10), ("completion", 0)):
        empty.add_evaluation(
            "r", "hellaswag", values, dataset="hellaswag", settings={"protocol": protocol, "shots": shots}
        )
    found = read_evaluations(empty.evaluations)
    assert [matches(empty.study.published[0], evaluation) for evaluation in found] == [True, False, False]


def test_the_parity_verdict_is_that_of_the_runs_own_setting_and_precision(full):
    table = made(full)
    assert row_of(table, "gpt2-1m-ddp")["parity"].text.startswith("1.1e")
    assert row_of(table, "gpt2-1m-zero3")["parity"].text == "unsupported"
    assert row_of(table, "gpt2-1m-s1")["parity"].value is None


PEAK = {
    "device": "cpu",
    "precision": "fp32",
    "threads": 1,
    "device_name": "A processor",
    "flops": 1e10,
    "source": "measured: the best product",
}


def test_speed_and_mfu_say_that_they_were_shared(empty):
    empty.add_run("r")
    cells = row_of(made(empty, [PEAK]), "r")
    flops = 20_480 * read_runs(empty.runs)[0].summary["flops_per_token"]
    assert cells["mfu"].value == pytest.approx(flops / 1e10)
    assert cells["mfu"].tip.endswith("peak 1e+10 FLOP/s, measured: the best product")
    for figure in ("tokens_per_second", "mfu"):
        assert (cells[figure].detail, cells[figure].more["timing"]) == ("shared", "shared")


def test_runs_that_stopped_early_are_named_with_the_time_that_it_saved(empty):
    empty.add_run("early", planned_steps=2000, recipe="patient")
    empty.add_run("whole")
    (note,) = [note for note in made(empty).notes if note.startswith("Stopped early")]
    # 400 steps took 44 s
    assert note == (
        "Stopped early, since validation no longer improved: patient at step 400 of 2,000 (about 2 min 56 s saved)."
    )


def test_what_was_computed_of_pairs_and_the_share_of_padding_stand_beside_the_cost(empty):
    empty.add_run("pairs", model="bart-tiny")
    empty.add_run("text")
    table = made(empty, [])
    cells = row_of(table, "pairs")
    steps = read_runs(empty.runs)[0].summary["steps"]
    assert (cells["computed_tokens"].value, cells["padding"].value) == (4096 * steps, 0.25)
    assert cells["padding"].text == "25.0"
    assert "padding" not in row_of(table, "text")


def test_the_mfu_of_a_run_is_left_out_with_the_reason_where_the_peak_is_another_processors(empty):
    empty.add_run("r")
    cell = row_of(made(empty, [PEAK | {"device_name": "Another"}]), "r")["mfu"]
    assert (cell.value, cell.tip) == (None, "it ran on A processor, and the peak is of Another")
    assert "mfu" not in row_of(made(empty, [PEAK | {"threads": 2}]), "r")


def test_losses_with_another_tokenizer_do_not_compete(full):
    runs = read_runs(full.runs[:2])
    runs[1].specification["model"]["tokenizer"] = "other"
    table = compare(full.study, runs, [], [])
    best, _ = find_best_cells(table)
    assert not {id(row.cells["training_loss"]) for row in table.rows if "training_loss" in row.cells} & best


def test_a_pretrained_model_and_each_checkpoint_have_rows(empty):
    empty.add_run("r")
    for run, checkpoint in (("r", "best"), ("r", "last"), ("smollm2-135m", "pretrained")):
        empty.add_evaluation(run, "perplexity", {"perplexity_word": (30.0, 1.0)}, checkpoint=checkpoint)
    table = made(empty)
    assert [row.cells["checkpoint"].text for row in table.rows if not row.section] == ["best", "last", "pretrained"]
    assert "checkpoint" in {column.key for column in table.columns}


def test_rouge_shows_its_interval_and_the_baseline_on_the_same_rows(empty):
    empty.add_run("r", model="bart-tiny")
    values = dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), (44.18, 0.5))
    lead = {"lead3": {name: {"value": 30.0, "low": 29.0, "high": 31.0} for name in values}}
    empty.add_evaluation("r", "rouge", values, baselines=lead)
    table = made(empty)
    key = next(column.key for column in table.columns if column.key.endswith(":rougeLsum"))
    assert (row_of(table, "r")[key].text, row_of(table, "r")[key].detail) == ("44.2", "± 0.5\n[43.2, 45.2]")
    assert [row.cells["run"].text for row in table.rows if row.section.startswith("Baselines")] == ["lead3"]


def test_the_csv_has_raw_numbers_for_every_run(full, outputs):
    tabulate(full.study, runs=full.runs, evaluations=full.evaluations, parity=full.parity, **outputs)
    rows = csv_rows(outputs["numbers"])
    assert [row["run"] for row in rows[:6]] == [folder.name for folder in full.runs]
    assert float(rows[0]["training_loss"]) == 1.18
    assert rows[5]["outcome_reason"] == "rank 1, step 1"
    assert "alert('x')" not in outputs["table"].read_text().replace("alert(&#39;x&#39;)", "")


def test_an_accuracy_at_chance_says_so_and_one_above_does_not(empty):
    for run, acc in (("guesses", 0.27), ("knows", 0.42)):
        empty.add_run(run, recipe=run)
        empty.add_evaluation(
            run, "hellaswag", {"acc": (acc, 0.045)}, n=100, settings={"protocol": "harness", "shots": 0}
        )
    table = made(empty)
    key = next(column.key for column in table.columns if column.key.endswith(":acc"))
    assert row_of(table, "guesses")[key].detail == "± 4.5\n[18.2, 35.8]\nchance"
    assert row_of(table, "knows")[key].detail == "± 4.5\n[33.2, 50.8]"


def test_what_all_runs_share_stands_below_the_table_and_in_the_csv_alone(empty):
    for run, model in (("a", "gpt2-1m"), ("b", "gpt2-500k")):
        empty.add_run(run, model=model)
    table = made(empty)
    assert "All runs: parallel single, precision fp32, outcome finished." in table.notes
    hidden = {column.key for column in table.columns if not column.shown}
    assert {"parallel", "precision", "outcome"} <= hidden


def test_a_score_that_repeats_its_neighbour_is_left_to_the_csv(empty):
    empty.add_run("a")
    empty.add_levels("a", {"facts": 0.9})
    table = made(empty)
    assert [column.shown for column in table.columns if column.key.startswith("hellaswag")] == [True, False]
    assert "acc_norm % equals acc % in every row; the CSV has it." in table.notes


def test_a_score_that_all_items_agree_on_shows_its_interval(empty):
    cell = score_cell("acc", Score(1.0, 0.0, 0.992, 1.0))
    assert (cell.text, cell.detail) == ("100.0", "[99.2, 100.0]")


def test_a_probe_outside_either_tolerance_is_outside(empty):
    empty.add_run("a", parallel="ddp", precision="bf16")
    empty.add_parity("ddp", 1e-3, precision="bf16", same_precision=against_own(9e-3, 1e-3))
    assert row_of(made(empty), "a")["parity"].text == "9e\N{MINUS SIGN}3 outside"


def test_a_probe_that_equals_the_reference_is_said_to_bit_by_bit(empty):
    empty.add_run("a", parallel="ddp", processes=2)
    empty.add_parity("ddp", 0.0)
    assert row_of(made(empty), "a")["parity"].text == "equal bit by bit"
