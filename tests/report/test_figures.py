import importlib

import pytest

from trainyard.plan import report
from trainyard.report.inputs import FILES, collect_arguments
from trainyard.report.pages import curves
from trainyard.report.render import style

from .reading import svg_text

FIGURES = {figure.title: figure for figure in report.FIGURES}


def draw(title, results, output):
    """Draw a figure as its rule does."""
    figure = FIGURES[title]
    files = {name: getattr(results, name) for name in FILES if name in figure.inputs}
    if "runs" in figure.inputs:
        files["runs"] = [run / "summary.json" for run in results.runs]
    params = {"study": results.study, "models": results.models, "prices": None}
    given = collect_arguments(files, {name: params[name] for name in ("study", *figure.params)})
    module = importlib.import_module(f"trainyard.report.pages.{figure.module}")
    module.draw(**given, **figure.options, output=output)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_results_give_the_same_bytes(full, name):
    draw(name, full, full.root / "a.svg")
    draw(name, full, full.root / "b.svg")
    assert (full.root / "a.svg").read_bytes() == (full.root / "b.svg").read_bytes()
    text = (full.root / "a.svg").read_text()
    assert "<dc:date>" not in text
    assert "<script" not in text


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_without_results_says_so(empty, name):
    draw(name, empty, empty.root / "a.svg")
    assert svg_text(empty.root / "a.svg")


def test_every_run_is_labelled_with_its_last_loss_or_its_outcome(full):
    draw("loss by step", full, full.root / "a.svg")
    text = svg_text(full.root / "a.svg")
    for part in ("gpt2-500k · base 1.401", "gpt2-1m · lr-1 diverged", "gpt2-124m, published 1.21"):
        assert part in text.replace("  ", " ")


def test_hundreds_of_runs_are_coloured_by_what_tells_most_and_stay_small(empty):
    for index in range(150):
        empty.add_run(f"r{index}", recipe=f"lr-{index % 5}", seed=index // 5, steps=100)
    draw("loss by tokens", empty, empty.root / "a.svg")
    text = svg_text(empty.root / "a.svg")
    assert "150 runs" in text
    assert all(f"lr-{index}" in text for index in range(5))
    assert (empty.root / "a.svg").stat().st_size < 800_000


def test_runs_that_were_never_validated_have_one_panel_with_labels(empty):
    empty.add_run("r", validated=False)
    draw("loss by step", empty, empty.root / "a.svg")
    text = svg_text(empty.root / "a.svg")
    assert "Validation loss" not in text
    assert "gpt2-1m" in text


def test_each_dataset_has_a_row_of_panels(empty):
    empty.add_run("a")
    empty.add_run("b", dataset="other", end=0.2)
    draw("loss by step", empty, empty.root / "a.svg")
    text = svg_text(empty.root / "a.svg")
    assert text.count("Validation loss") == text.count("Training loss") == 2
    assert "tinyworld" in text
    assert "other" in text


def test_a_published_loss_stands_on_its_own_dataset_alone(empty):
    published = [{"model": "m", "values": {"validation_loss": 1.1}, "protocol": "other", "source": "a paper"}]
    study = empty.study.model_validate(empty.study.model_dump() | {"published": published})
    empty.add_run("a")
    empty.add_run("b", dataset="other", end=0.2)
    curves.draw(study, runs=empty.runs, axis="step", output=empty.root / "a.svg")
    assert svg_text(empty.root / "a.svg").count("m, published 1.10") == 1


def test_no_curve_is_cut_but_its_first_fall():
    fall = [6.0, 3.0, *(1.0 - 0.01 * step for step in range(38))]
    low, high, cut = curves.axis_limits([fall, [loss + 0.1 for loss in fall]], fall=True)
    assert cut == 6.1
    assert low == min(fall)
    assert high > max(loss + 0.1 for loss in fall[4:])
    assert curves.axis_limits([fall], fall=False) == (min(fall), 6.0, None)


def test_a_fall_that_takes_little_room_is_shown_whole():
    assert curves.axis_limits([[2.0 - 0.05 * step for step in range(20)]], fall=True)[1:] == (2.0, None)


def test_a_level_below_chance_is_marked_and_one_at_chance_is_not(empty):
    empty.add_run("r")
    empty.add_levels("r", {"facts": 0.97, "last-move": 0.24, "earlier-move": 0.04})
    draw("scores by level", empty, empty.root / "a.svg")
    assert svg_text(empty.root / "a.svg").count("(below chance)") == 1


def test_labels_of_points_meet_neither_each_other_nor_the_frame(tmp_path):
    points = [(1.0, 1.0, "a long label", "black"), (1.02, 1.0, "another label", "black"), (2.0, 1.0, "the last", "red")]
    with style.figure(tmp_path / "a.svg") as drawing:
        axes = drawing.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.set(xlim=(0.9, 2.05), ylim=(0, 2))
        style.label_points(axes, points)
        boxes = [text.get_window_extent() for text in axes.texts]
        frame = axes.get_window_extent()
    assert not boxes[0].overlaps(boxes[1])
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_smoothing_takes_the_mean_of_the_values_before():
    assert curves.smooth([2.0, 4.0, 6.0, 8.0], 2) == [2.0, 3.0, 5.0, 7.0]
    assert curves.smooth([2.0, 4.0], 1) == [2.0, 4.0]


def test_levels_show_models_shortcuts_and_chance(full):
    draw("scores by level", full, full.root / "a.svg")
    text = svg_text(full.root / "a.svg")
    for part in ("all items", "facts", "carried", "n = 500", "chance", "shortcut: last place mentioned", "gpt2-250k"):
        assert part in text


def test_items_without_levels_make_one_group(empty):
    empty.add_run("r")
    values = {"acc": (0.28, 0.045), "acc_norm": (0.29, 0.045)}
    empty.add_evaluation(
        "r", "hellaswag", values, dataset="hellaswag", n=100, settings={"protocol": "harness", "shots": 0}
    )
    draw("scores by level", empty, empty.root / "a.svg")
    assert "n = 100" in svg_text(empty.root / "a.svg")


def test_the_fit_and_the_prediction_stand_in_the_legend(full):
    draw("scaling law", full, full.root / "a.svg")
    text = svg_text(full.root / "a.svg")
    assert "A law takes 5 sizes" in text
    assert "Kaplan" in text


def test_baselines_stand_beside_the_scores(empty):
    empty.add_run("r", model="bart-tiny")
    values = dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), (44.0, 0.5))
    empty.add_evaluation("r", "rouge", values, baselines={"lead3": {"rouge1": {"value": 30.0}}})
    draw("scores", empty, empty.root / "a.svg")
    text = svg_text(empty.root / "a.svg")
    assert "lead3" in text
    assert "ROUGE-2 and ROUGE-L and ROUGE-Lsum" in text  # the same numbers: one panel
