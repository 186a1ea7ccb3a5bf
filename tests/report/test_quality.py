"""Quality by step and against cost: what is drawn, what is tabulated, and what a step had cost."""

import re

import pytest

from trainyard.config.settings import Prices
from trainyard.report.pages import quality
from trainyard.report.pages.quality import describe_pareto_front
from trainyard.report.results.runs import read_evaluations, read_runs
from trainyard.report.statistics.cost import cost_at, ends_schedule, pareto_front, step_of
from trainyard.report.statistics.quality_curves import loss_charts, score_charts

from .reading import csv_rows, evidence_of, svg_text

EURO = Prices.model_validate({"currency": "EUR", "cpu": 0.5})


def add_steps(results, run, accuracies, checkpoints=("step-100", "step-200", "best"), **more):
    """Endings of a run scored at some steps, and the run itself."""
    results.add_run(run, **more)
    for checkpoint, value in zip(checkpoints, accuracies, strict=True):
        values = {"acc": (value, 0.01), "acc_norm": (value, 0.01)}
        settings = {"protocol": "harness", "shots": 0}
        results.add_evaluation(run, "hellaswag", values, checkpoint=checkpoint, settings=settings)


@pytest.fixture
def stepped(empty):
    """Two runs, each evaluated at three steps: the small one is better while little has been spent."""
    add_steps(empty, "large", (0.3, 0.5, 0.9))
    add_steps(empty, "small", (0.45, 0.55, 0.6), model="gpt2-250k")
    empty.add_shortcuts()
    return empty


def draw(results, along, prices=None):
    out = results.root / "a.svg"
    quality.draw(
        results.study,
        runs=results.runs,
        evaluations=results.evaluations,
        shortcuts=results.shortcuts,
        prices=prices,
        along=along,
        output=out,
    )
    return svg_text(out)


def tabulated(results, prices=None):
    page, numbers = results.root / "t.html", results.root / "t.csv"
    quality.tabulate(
        results.study, runs=results.runs, evaluations=results.evaluations, prices=prices, table=page, numbers=numbers
    )
    return page.read_text(), csv_rows(numbers)


def test_a_step_has_cost_its_tokens_flops_hours_and_money(empty):
    empty.add_run("r", processes=4)
    (run,) = read_runs(empty.runs)
    cost = cost_at(run, 100, EURO)
    assert cost is not None
    assert (cost.step, cost.tokens, cost.flops) == (100, 204_800, 204_800 * 6.0 * 128**2)
    assert cost.hours == pytest.approx(4 * 0.11 * 100 / 3600)
    assert cost.money == pytest.approx(0.5 * cost.hours)
    unpriced = cost_at(run, 100)
    assert unpriced
    assert unpriced.money is None
    assert cost_at(run, 401) is None


def test_an_encoder_decoder_has_no_flops(empty):
    empty.add_run("r", model="bart-tiny")
    cost = cost_at(read_runs(empty.runs)[0], 100)
    assert cost
    assert cost.flops is None


def test_the_step_of_a_model_is_what_it_says_of_itself_or_what_its_run_says(empty):
    empty.add_run("r", steps=400)
    for checkpoint, more in (("best", {"model_origin": {"step": 350}}), ("last", {}), ("step-70", {})):
        empty.add_evaluation("r", "hellaswag", {"acc": (0.5, 0.1)}, checkpoint=checkpoint, **more)
    (run,) = read_runs(empty.runs)
    assert [step_of(each, run) for each in read_evaluations(empty.evaluations)] == [350, 400, 70]


def test_the_front_is_what_nothing_cheaper_equals():
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.6), (3.0, 0.6), (4.0, 0.9)]
    assert pareto_front(points, high=True) == [0, 2, 4]
    assert pareto_front(points, high=False) == [0, 1]


def test_every_run_is_a_line_of_its_steps_beside_chance_and_the_best_shortcut(stepped):
    text = draw(stepped, "step")
    for part in ("gpt2-1m 90.0", "gpt2-250k 60.0", "chance 25.0", "shortcut: likeliest ending 26.0", "optimizer step"):
        assert part in text
    assert "predicted tokens" not in text  # every run takes as many a step


def test_cost_is_in_flops_and_in_hours_or_in_money_where_an_hour_has_a_price(stepped):
    text = draw(stepped, "cost")
    assert "training FLOPs, tokens x (6 N + 12 L h Q T)" in text
    assert "device hours (elapsed time x processes)" in text
    assert "best at each cost" in text
    assert "validation loss" in text
    text = draw(stepped, "cost", EURO)
    assert "EUR (an hour of a device: 0.5 cpu)" in text
    assert "device hours" not in text


def test_the_best_model_at_a_kept_step_is_one_point(stepped):
    runs = read_runs(stepped.runs)
    stepped.add_evaluation(
        "large", "hellaswag", {"acc_norm": (0.9, 0.01)}, checkpoint="last", settings={"protocol": "harness", "shots": 0}
    )
    (chart,) = score_charts(stepped.study, runs, read_evaluations(stepped.evaluations), [], None)
    assert [[point.cost.step for point in line.points] for line in chart.lines] == [[100, 200, 400]] * 2


def test_seeds_are_one_line_of_their_mean_and_spread(empty):
    add_steps(empty, "a", (0.3, 0.5, 0.7), seed=1)
    add_steps(empty, "b", (0.5, 0.5, 0.9), seed=2)
    (chart,) = score_charts(empty.study, read_runs(empty.runs), read_evaluations(empty.evaluations), [], None)
    (line,) = chart.lines
    assert line.label == "gpt2-1m, 2 seeds"
    assert [point.score.value for point in line.points] == pytest.approx([0.4, 0.5, 0.8])
    assert sum(line.points[0].score.error_bar) == pytest.approx(2 * 0.1 * 2**0.5)
    assert line.points[1].score.interval is None  # both seeds have the same


def test_many_runs_are_coloured_by_the_coordinate_that_says_most(empty):
    for index in range(12):
        add_steps(empty, f"r{index}", (0.3, 0.5, 0.6 + index / 100), recipe=f"lr-{index % 4}", processes=index + 1)
    text = draw(empty, "cost")
    assert all(text.count(f"lr-{index}") == 1 for index in range(4))


def test_a_published_score_of_the_same_protocol_is_a_line(empty):
    add_steps(empty, "r", (0.28, 0.3, 0.32))
    for path in empty.evaluations:
        path.write_text(path.read_text().replace('"tinyworld-endings"', '"hellaswag"'))
    assert "gpt2-124m, published 31.1" in draw(empty, "step")


def test_runs_that_were_evaluated_once_have_no_quality_by_step(full):
    assert "Each run was evaluated once." in draw(full, "step")
    assert "validation loss" in draw(full, "cost")


@pytest.mark.parametrize("along", ["step", "cost"])
def test_a_study_without_results_says_so(empty, along):
    assert draw(empty, along)


@pytest.mark.parametrize("along", ["step", "cost"])
def test_the_same_results_give_the_same_bytes(stepped, along):
    draw(stepped, along)
    before = (stepped.root / "a.svg").read_bytes()
    draw(stepped, along)
    assert (stepped.root / "a.svg").read_bytes() == before


def test_the_table_has_every_evaluated_step_with_its_cost_and_says_what_is_on_the_front(stepped):
    page, rows = tabulated(stepped, EURO)
    score = "hellaswag-tinyworld-endings-fp32-32-harness-0:acc_norm"
    assert [(row["run"], row["checkpoint"], row["step"], row[score]) for row in rows] == [
        ("large", "step-100", "100", "0.3"),
        ("large", "step-200", "200", "0.5"),
        ("large", "best", "400", "0.9"),
        ("small", "step-100", "100", "0.45"),
        ("small", "step-200", "200", "0.55"),
        ("small", "best", "400", "0.6"),
    ]
    # a model from the middle of a schedule is on no front, however good it is for what it had cost by then
    assert [row[f"{score}_front"] for row in rows] == ["False", "False", "True", "False", "False", "True"]
    assert float(rows[0]["flops"]) == 204_800 * 6.0 * 128**2
    assert float(rows[0]["money"]) == pytest.approx(0.5 * float(rows[0]["hours"]))
    assert rows[0][f"{score}_standard_error"] == "0.01"
    assert "EUR for an hour of a device: 0.5 cpu." in page
    assert "<script>alert" not in page


def test_a_model_that_is_missing_has_its_reason_in_the_table(full):
    page, rows = tabulated(full)
    assert "no model: &lt;script&gt;" in page
    assert len(rows) == 6


def test_a_model_whose_perplexity_no_number_holds_is_no_point_and_no_front(empty):
    for run in ("long-words", "others"):
        empty.add_run(run)
        values = {"loss_token": (4.0, 0.1), "perplexity_word": (60.0, 1.0)}
        if run == "long-words":
            del values["perplexity_word"]
        for checkpoint in ("step-100", "best"):
            empty.add_evaluation(run, "perplexity", values, checkpoint=checkpoint, dataset="tinyworld")
    values = {"loss_token": (4.0, 0.1)}
    empty.add_evaluation("gpt2-1m", "perplexity", values, checkpoint="pretrained", dataset="tinyworld")
    (chart,) = score_charts(empty.study, read_runs(empty.runs), read_evaluations(empty.evaluations), [], None)
    assert ([line.name for line in chart.lines], chart.levels) == (["others"], [])
    empty.evaluations.pop()  # the table is of runs
    _, table = tabulated(empty)
    column = "perplexity-tinyworld-fp32-32:perplexity_word"
    assert sorted(row[column] for row in table) == ["", "", "60.0", "60.0"]


def test_who_has_the_lowest_loss_for_its_cost_is_said_of_ends_of_schedules(empty):
    empty.add_run("small", model="gpt2-250k", end=1.5)
    empty.add_run("large", end=1.2)
    (sentence,) = describe_pareto_front(evidence_of(empty))
    assert re.fullmatch(
        r"Lowest loss for its cost on tinyworld validation, bpe-512 tokens, of 2 runs at the ends of their schedules: "
        r"gpt2-250k \(\S+ FLOPs, 1\.\d+\) and gpt2-1m \(\S+ FLOPs, 1\.\d+\); the dearer is better, p = 1e.4 by "
        r"validation rows, corrected for 1 pair\.",
        sentence,
    )


def test_a_front_says_which_of_its_neighbours_rows_can_not_tell_apart(empty):
    for name, model, end in (("small", "gpt2-250k", 1.5), ("middle", "gpt2-500k", 1.2), ("large", "gpt2-1m", 1.1999)):
        empty.add_run(name, model=model, end=end)
    (sentence,) = describe_pareto_front(evidence_of(empty))
    assert re.search(
        r"; gpt2-1m is within noise of gpt2-500k \(p = \S+\) by validation rows, corrected for 3 pairs\.$", sentence
    )
    (empty.runs[2] / "validation.parquet").unlink()
    (sentence,) = describe_pareto_front(evidence_of(empty))
    assert re.search(r"; gpt2-1m against gpt2-500k is not tested \(large: there is no validation.parquet\)\.", sentence)


def test_a_front_of_several_seeds_is_of_configurations_and_tested_over_seeds(empty):
    for model, end in (("gpt2-250k", 1.5), ("gpt2-1m", 1.2)):
        for seed in (1, 2, 3):
            empty.add_run(f"{model}-{seed}", model=model, seed=seed, end=end + 0.01 * seed)
    (sentence,) = describe_pareto_front(evidence_of(empty))
    assert "of 2 configurations at the ends of their schedules" in sentence
    assert "; the dearer is better, p = " in sentence


def test_the_last_loss_is_that_of_the_end_and_no_lower_one_from_the_middle(empty):
    empty.add_run("small", model="gpt2-250k", end=1.5)
    (chart,) = loss_charts(empty.study, read_runs(empty.runs), None)
    assert [point.is_end for point in chart.lines[0].points] == [False] * (len(chart.lines[0].points) - 1) + [True]
    run = read_runs(empty.runs)[0]
    run.specification["train"]["decay"] = "constant"
    assert ends_schedule(run, 1)


def test_a_run_that_stopped_early_is_not_at_the_end_of_a_decay(empty):
    empty.add_run("early", planned_steps=2000)
    (run,) = read_runs(empty.runs)
    assert not ends_schedule(run, run.summary["steps"])
    run.specification["train"]["decay"] = "constant"
    assert ends_schedule(run, run.summary["steps"])


def test_runs_that_did_not_finish_cost_the_same_or_have_no_flops_are_not_ranked_by_cost(empty):
    empty.add_run("small", model="gpt2-250k", end=1.2)
    empty.add_run("large", end=1.5)
    (sentence,) = describe_pareto_front(evidence_of(empty))
    best = sentence.partition("of 2 runs at the ends of their schedules: ")[2]
    assert re.fullmatch(r"gpt2-250k \(\S+ FLOPs, 1\.261\)\.", best)
    empty.add_run("diverged", model="gpt2-250k", outcome="diverged", seed=2)
    (again,) = describe_pareto_front(evidence_of(empty))
    assert again.replace(" \N{MIDDLE DOT} seed 1", "") == sentence
    empty.add_run("other", model="bart-tiny", end=1.2)
    assert describe_pareto_front(evidence_of(empty)) == []


def test_runs_of_one_cost_are_not_ranked_by_it(empty):
    for seed, rate in enumerate((1.2, 1.3)):
        empty.add_run(f"r{seed}", parallel=("single", "ddp")[seed], end=rate)
    assert describe_pareto_front(evidence_of(empty)) == []


def test_of_a_long_front_the_ends_are_named(empty):
    for number in range(1, 8):
        empty.add_run(f"gpt2-1m-{number}", recipe=f"steps-{number}", steps=100 * number)
        empty.set_loss(f"gpt2-1m-{number}", 2.0 - 0.1 * number)
    (sentence,) = describe_pareto_front(evidence_of(empty))
    assert "of 7 runs at the ends of their schedules: 7 of them, from steps-1 (" in sentence
    assert " to steps-7 (" in sentence
    assert "steps-4 (" not in sentence.partition(";")[0]
