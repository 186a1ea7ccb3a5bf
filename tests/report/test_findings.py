import json

import numpy as np

from trainyard.report.pages.findings import collect_findings
from trainyard.report.pages.key_figures import make_cards
from trainyard.report.pages.verdicts import describe_test
from trainyard.report.results.runs import read_evaluations
from trainyard.report.statistics.paired_tests import (
    PairedTest,
    compare_paired,
    compare_with_baseline,
    correct_by_holm,
)

from .reading import evidence_of, sentences
from .sample_measurements import launches_of
from .sample_results import against_own


def test_nothing_is_said_where_there_is_nothing(empty):
    assert set(sentences(empty)) == {"Scaling"}
    assert make_cards(evidence_of(empty)) == []


def test_training_names_the_lowest_and_the_highest_loss(full):
    text = sentences(full)["Training"]
    assert "gpt2-1m: validation loss 1.241 after" in text
    assert "the lowest of 3 runs; the highest is gpt2-250k with 1.611" in text
    assert "Second is gpt2-500k with 1.401, above it (lowest against second, row by row: " in text


def test_held_out_rows_that_are_trained_on_are_counted(full, empty):
    assert sentences(full)["Held-out data"] == (
        "12 of the 1,000 rows of tinyworld test (1.2 %) also appear in the training rows of tinyworld: "
        "scores on them may be memorisation."
    )
    empty.add_duplicates("tinyworld", "tinyworld", "test", 1000, 0)
    assert "Held-out data" not in sentences(empty)


def test_of_single_seeds_nothing_is_said_of_recipes(empty):
    empty.add_run("one", model="gpt2-1m")
    assert "not of the recipes" not in sentences(empty)["Training"]
    empty.add_run("other", model="gpt2-250k")
    assert "of these models, not of the recipes that made them." in sentences(empty)["Training"]


def test_the_spread_over_seeds_is_told_with_what_it_lets_a_comparison_find(empty):
    for seed, end in ((1, 1.20), (2, 1.25)):
        empty.add_run(f"s{seed}", seed=seed, end=end)
    text = sentences(empty)["Training"]
    assert "The seed alone moves the validation loss by 0.035 nats (standard deviation, with 1 degree of" in text


def test_endings_say_how_far_above_the_best_shortcut_and_on_which_levels(full):
    text = sentences(full)["Endings"]
    assert "Not tested" not in text
    assert "54.2 ± 1.1 % of 2,000 items" in text
    assert (
        "better than the shortcut “likeliest ending”, the hardest to beat of chance and shortcuts: "
        "+28.2 points [24.7, 31.8], p < 1e−6, corrected for choosing the best of 3." in text
    )
    assert (
        "By level it beats chance and each shortcut on facts (97.0 ± 0.8 %) and last-move (62.0 ± 2.2 %); each p is "
        "below 0.05, corrected for 12 tests." in text
    )
    assert "It does not on earlier-move (31.0 ± 2.1 %) and carried (27.0 ± 2.0 %)." in text
    assert "together" not in text  # levels that were chosen because they were won


def test_a_level_with_every_answer_right_takes_part(empty):
    empty.add_run("r")
    empty.add_levels("r", {"facts": 1.0, "last-move": 0.62, "carried": 0.25}, answers=True)
    empty.add_shortcuts()
    text = sentences(empty)["Endings"]
    assert "each shortcut on facts (100.0 % [99.2, 100.0]) and last-move (62.0 ± 2.2 %); each p" in text


def test_a_model_at_chance_is_said_to_be_within_noise(empty):
    empty.add_run("r")
    empty.add_evaluation(
        "r",
        "hellaswag",
        {"acc": (0.27, 0.044)},
        dataset="hellaswag",
        n=100,
        settings={"protocol": "harness", "shots": 0},
    )
    text = sentences(empty)["Endings"]
    assert "within noise of chance: +2.0 points [−5.7, 11.4], p = 0.64." in text
    assert "Within noise of chance: gpt2-1m." in text


def test_a_second_model_within_two_errors_is_noise(empty):
    for run, value in (("a", 0.50), ("b", 0.49)):
        empty.add_run(run, recipe=run)
        empty.add_levels(run, {"facts": value})
    text = sentences(empty)["Endings"]
    assert "Second is b with 49.0 ± 2.2 %, within noise of it (0.3 combined standard errors)." in text


def test_a_change_by_training_that_nothing_can_be_paired_for_says_why(empty):
    empty.add_run("tuned")
    empty.add_evaluation("tuned", "perplexity", {"perplexity_word": (30.0, 1.0)})
    empty.add_evaluation("gpt2-1m", "perplexity", {"perplexity_word": (40.0, 1.0)}, checkpoint="pretrained")
    text = sentences(empty)["Perplexity"]
    assert "Training took the perplexity per word of gpt2-1m from 40.00 to 30.00 (not tested: the rows' hash" in text


def test_rouge_is_set_beside_its_baseline(empty):
    empty.add_run("r", model="bart-tiny")
    values = dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), (44.0, 0.5))
    lead = {"lead3": {name: {"value": 30.0, "standard_error": 0.5} for name in values}}
    empty.add_evaluation("r", "rouge", values, n=100, baselines=lead)
    text = sentences(empty)["Summaries"]
    assert "100 rows: bart-tiny has ROUGE-1 44.0 [43.0, 45.0]" in text
    assert "lead3 has ROUGE-1 30.0 [29.0, 31.0]: not tested (there is no " in text


def test_parity_names_the_largest_difference_and_what_could_not_run(full):
    text = sentences(full)["Parity"]
    assert "All 4 parallel settings probed in fp32 stay within 1e\N{MINUS SIGN}6 of the reference" in text
    assert "(largest: zero2, 2.4e\N{MINUS SIGN}7)" in text
    assert "zero3 in fp32 could not be compared (unsupported: no compiler" in text


def test_parity_counts_probes_where_a_setting_has_several(empty):
    for model in ("gpt2-1m", "gpt2-500k"):
        for parallel, largest in (("ddp", 1e-7), ("zero2", 2e-7)):
            empty.add_parity(parallel, largest, model=model)
    text = sentences(empty)["Parity"]
    assert "All 4 probes in fp32 stay within 1e\N{MINUS SIGN}6 of the reference" in text
    assert "(largest: zero2 · gpt2-1m, " in text or "(largest: zero2 · gpt2-500k, " in text
    assert "parallel settings" not in text


def test_equal_probes_of_one_setting_are_told_apart_by_their_processes(empty):
    for processes in (2, 4):
        empty.add_parity("ddp", 0.0, processes=processes)
    empty.add_parity("zero2", 1e-7)
    text = sentences(empty)["Parity"]
    assert "All 3 probes in fp32" in text
    assert "Equal to the reference bit by bit: ddp · 2 processes and ddp · 4 processes." in text


def test_the_reference_in_a_probes_own_precision_has_a_sentence(empty):
    for parallel, largest, norm in (("ddp", 0.0, 0.0), ("fsdp", 2e-3, 1e-3), ("zero2", 3e-3, 3e-2)):
        empty.add_parity(parallel, 1e-3, precision="bf16", same_precision=against_own(largest, norm))
    text = sentences(empty)["Parity"]
    assert "All 3 parallel settings probed in bf16 stay within 2e\N{MINUS SIGN}2 of the reference over 20 steps" in text
    assert "2 of 3 parallel settings probed in bf16 stay within 8e\N{MINUS SIGN}3 of the reference in bf16" in text
    assert "Equal to the reference in bf16 bit by bit: ddp." in text
    assert (
        "zero2 deviates by 3.0 % in the norm of its gradient, outside its tolerance of 2.0 %, "
        "from the reference in bf16." in text
    )


def test_a_probe_outside_its_tolerance_is_named(empty):
    empty.add_parity("ddp", 1e-7)
    empty.add_parity("zero2", 3e-6)
    text = sentences(empty)["Parity"]
    assert "1 of 2 parallel settings" in text
    assert "zero2 deviates by 3e\N{MINUS SIGN}6, outside its tolerance" in text
    assert next(card for card in make_cards(evidence_of(empty)) if "probes" in card.title).failed


def test_parity_names_each_tolerance_and_what_is_nearest_to_its_own(empty):
    empty.add_parity("ddp", 5e-7)
    empty.add_parity("tensor", 2e-5, tolerance=1e-4, compared=20)
    text = sentences(empty)["Parity"]
    assert (
        "All 2 parallel settings probed in fp32 stay within their tolerance of the reference, 1e\N{MINUS SIGN}6 over "
        "100 steps and 1e\N{MINUS SIGN}4 over 20 steps (nearest to its own: ddp, 5e\N{MINUS SIGN}7)." in text
    )


def test_failures_are_listed_with_their_reasons(full):
    text = sentences(full)["Failures"]
    assert "diverged (loss not finite at step 60)" in text
    assert "out-of-memory (rank 1, step 1)" in text
    assert "measuring ddp · batch 128: out-of-memory" in text


def test_the_largest_batch_and_the_predictions_have_a_sentence(full):
    text = sentences(full)["Speed and memory"]
    assert "Largest batch that fits: 120 sequences per process, under fsdp; the smallest of any setting is 96." in text
    assert "Predicted memory is within 15 % of the measured increase for 8 of 8 cells (largest error: 10.0 %)." in text


def test_cells_like_those_that_tuned_the_prediction_do_not_judge_it(empty):
    empty.add_cell("ddp", 8, 1000.0, model="gpt2-52m")
    empty.add_cell("zero2", 8, 1000.0, model="gpt2-52m")
    text = sentences(empty)["Speed and memory"]
    assert "of the measured increase for 1 of 1 cell " in text
    assert text.endswith("Left out: 1 cell like those that the prediction was tuned on.")


def test_what_is_said_of_another_metric_than_the_primary_one_is_exploratory(full):
    assert not any(finding.exploratory for finding in collect_findings(evidence_of(full)))
    full.study = full.study.model_copy(update={"primary": "hellaswag"})
    marked = {finding.topic for finding in collect_findings(evidence_of(full)) if finding.exploratory}
    assert marked == {"Perplexity", "Training", "Cost", "Scaling"} & set(sentences(full))
    assert {"Perplexity", "Training"} <= marked


def test_settings_whose_launches_took_as_little_memory_tie_as_the_leanest(empty):
    empty.add_cell("single", 8, 1000.0, launches=launches_of([1000.0] * 3, memory=300e6), peak_memory=400e6)
    empty.add_cell("ddp", 8, 1000.0, launches=launches_of([1000.0] * 3, memory=301e6), peak_memory=401e6)
    empty.add_cell("zero2", 8, 1000.0, launches=launches_of([1000.0] * 3, memory=310e6), peak_memory=410e6)
    text = sentences(empty)["Speed and memory"]
    assert (
        "gpt2-1m takes least memory under single, 381 MiB per process, libraries included; launches can't tell ddp "
        "from it." in text
    )


def test_cards_hold_the_key_figures(full):
    shown = {card.title: card.value for card in make_cards(evidence_of(full))}
    assert shown == {
        "runs finished": "3 of 6",
        "lowest validation loss": "1.241",
        "right endings": "54.2 ± 1.1 %",
        "perplexity per word": "9.66",
        "probes within tolerance": "5 of 5",
        "tokens per second of gpt2-1m": "34,320",
    }


def test_a_changed_figure_changes_the_sentence(full):
    summary = full.runs[0] / "summary.json"
    value = json.loads(summary.read_text())
    value["best"]["validation_loss"] = 0.987
    summary.write_text(json.dumps(value))
    assert "validation loss 0.987" in sentences(full)["Training"]


def test_a_level_below_chance_is_explained(empty):
    empty.add_run("r")
    empty.add_levels("r", {"facts": 0.97, "earlier-move": 0.0})
    text = sentences(empty)["Endings"]
    assert "Below chance on earlier-move: gpt2-1m (0.0 % [0.0, 0.8]); p < 1e−6, corrected for 3 tests." in text
    assert "a shortcut learned on the way answers these items wrongly" in text
    assert "It does not on" not in text


def test_chance_and_a_little_less_are_not_explained(empty):
    empty.add_run("r")
    empty.add_levels("r", {"facts": 0.97, "earlier-move": 0.21})
    assert "Below chance" not in sentences(empty)["Endings"]


def test_parity_to_the_last_bit_is_said_so(empty):
    for parallel in ("ddp", "fsdp"):
        empty.add_parity(parallel, 0.0)
    text = sentences(empty)["Parity"]
    assert "All 2 parallel settings probed in fp32 equal the reference bit by bit" in text
    assert "bit by bit" in next(card.remark for card in make_cards(evidence_of(empty)) if "probes" in card.title)
    empty.add_parity("zero2", 1e-7)
    assert "Equal to the reference bit by bit: ddp and fsdp." in sentences(empty)["Parity"]


def speed_card(empty):
    (card,) = [card for card in make_cards(evidence_of(empty)) if card.title.startswith("tokens per second")]
    return card


def test_the_card_of_speed_says_what_it_was_measured_on_and_what_ran_beside_it(empty):
    empty.add_run("r")
    empty.add_cell("ddp", 8, 90_000.0, model="gpt2-250k")  # quicker, but no model that the study trains
    empty.add_cell("ddp", 8, 1000.0, other_load={"before": 0.0, "during": 0.4})
    card = speed_card(empty)
    assert (card.title, card.value) == ("tokens per second of gpt2-1m", "1,000")
    for part in ("ddp", "2 processes", "fp32", "batch 8", "sequence 128", "other processes used 40 % of the cores"):
        assert part in card.remark


def test_the_speed_of_a_model_that_the_study_does_not_train_says_so(empty):
    empty.add_run("r")
    empty.add_cell("ddp", 8, 90_000.0, model="gpt2-250k")
    assert speed_card(empty).title == "tokens per second of gpt2-250k, which this study does not train"


def test_the_best_of_two_is_set_beside_a_baseline_with_a_correction_for_the_choice(empty):
    generator = np.random.default_rng(0)
    lead = generator.normal(30, 5, 60)
    for run, gain in (("a", 2.0), ("b", 0.0)):
        empty.add_run(run, model="bart-tiny", recipe=run)
        empty.add_items(run, "rouge", {"rouge1": lead + generator.normal(gain, 6, 60), "lead3": lead})
    best = read_evaluations(empty.evaluations)[0]
    alone, two = (compare_with_baseline(best, "lead3", "rouge1", tests) for tests in (1, 2))
    assert isinstance(alone, PairedTest)
    assert isinstance(two, PairedTest)
    assert two.p == 2 * alone.p
    assert two.low < alone.low < alone.high < two.high
    said = f"the model minus the baseline is {describe_test('rouge1', two)}, corrected for choosing the best of 2."
    assert said in sentences(empty)["Summaries"]


def test_what_training_did_to_several_models_is_corrected_by_holm(empty):
    generator = np.random.default_rng(0)
    tests = []
    for model, gain in (("gpt2-250k", 0.4), ("gpt2-1m", 0.5)):
        empty.add_run(model, model=model)
        before = generator.normal(-40, 8, 60)
        for name, checkpoint, likelihood in (
            (model, "best", before + generator.normal(gain, 2, 60)),
            (model, "pretrained", before),
        ):
            columns = {"log_likelihood": likelihood}
            empty.add_items(name, "perplexity", columns, checkpoint=checkpoint, dataset="tinyworld")
        tuned, untouched = read_evaluations(empty.evaluations[-2:])
        tests.append(compare_paired(tuned, untouched, "perplexity_word"))
    text, raised = sentences(empty)["Perplexity"], 0
    for test, alone in zip(correct_by_holm(tests), tests, strict=True):
        assert isinstance(test, PairedTest)
        assert isinstance(alone, PairedTest)
        raised += test.p > alone.p  # all but the largest
        assert f"({describe_test('perplexity_word', test)} by Holm)." in text
    assert raised == 1


def test_a_shortcut_without_answers_is_named_and_chance_is_still_tested(empty):
    empty.add_run("r")
    empty.add_levels("r", {"facts": 0.9, "carried": 0.25})
    empty.add_shortcuts()
    text = sentences(empty)["Endings"]
    assert "better than chance: +" in text
    assert "Not tested against the shortcut “likeliest ending”, the shortcut “last place mentioned” and " in text
    assert "By level it beats chance on facts (90.0 ± 1.3 %)" in text
