import itertools

from trainyard.report.pages import parity

from .reading import svg_text
from .sample_results import against_own


def drawn(results):
    """All text of the figure."""
    parity.draw(results.study, parity=results.parity, output=results.root / "a.svg")
    return svg_text(results.root / "a.svg")


def test_settings_that_equal_the_reference_lie_at_zero_under_the_tolerance(empty):
    for parallel in ("ddp", "fsdp"):
        empty.add_parity(parallel, 0.0)
    text = drawn(empty)
    assert "equal bit by bit: ddp, fsdp" in text
    assert "tolerance 1e\N{MINUS SIGN}6" in text
    assert " 0 1e\N{MINUS SIGN}9 " in text  # the foot of the axis, and the next height above it
    empty.add_parity("zero2", 1e-7)
    assert "equal bit by bit: ddp, fsdp" in drawn(empty)


def test_each_precision_has_its_tolerance_and_every_setting_its_name(full):
    text = drawn(full)
    for part in ("tolerance 1e\N{MINUS SIGN}6", "tolerance 2e\N{MINUS SIGN}2", "zero2", "fsdp"):
        assert part in text


def test_a_tolerance_says_where_it_ends(empty):
    empty.add_parity("ddp", 1e-7)
    empty.add_parity("tensor", 2e-5, tolerance=1e-4, compared=20)
    text = drawn(empty)
    assert "tolerance 1e\N{MINUS SIGN}4, first 20 steps" in text
    assert "tolerance 1e\N{MINUS SIGN}6, first" not in text


def test_settings_with_the_same_largest_difference_share_a_label(empty):
    for parallel in ("ddp", "fsdp", "zero1"):
        empty.add_parity(parallel, 2.4e-7)
    assert "ddp, fsdp, zero1" in drawn(empty)


def test_a_step_that_equals_the_reference_can_be_drawn(empty):
    path = empty.add_parity("ddp", 1e-7)
    path.write_text(path.read_text().replace('"by_step": [', '"by_step": [0.0, '))
    assert "ddp" in drawn(empty)


def test_the_reference_in_a_probes_own_precision_has_a_panel_with_its_tolerance(empty):
    empty.add_parity("ddp", 1e-3, precision="bf16", same_precision=against_own(2e-3, 1e-3))
    text = drawn(empty)
    for part in (
        "bf16: |loss",
        "bf16 against bf16: |loss",
        "tolerance 8e\N{MINUS SIGN}3",
        "tolerance 2e\N{MINUS SIGN}2",
    ):
        assert part in text


def test_each_model_has_panels_of_its_own(empty):
    for model in ("gpt2-1m", "bart-tiny"):
        empty.add_parity("ddp", 1e-7, model=model)
    text = drawn(empty)
    assert "fp32: gpt2-1m on tinyworld" in text
    assert "fp32: bart-tiny on tinyworld" in text


def test_the_labels_of_many_settings_do_not_touch(empty, monkeypatch):
    boxes = []

    def remember(axes, ends, label_ends=parity.style.label_ends):
        label_ends(axes, ends)
        boxes.extend(sorted((text.get_window_extent() for text in axes.texts[-len(ends) :]), key=lambda box: box.y0))

    monkeypatch.setattr(parity.style, "label_ends", remember)
    for index in range(24):
        empty.add_parity(f"setting-{index}", 1e-7 * (index % 12), precision="bf16")
    drawn(empty)
    assert len(boxes) == 12
    assert all(lower.y1 <= upper.y0 + 1 for lower, upper in itertools.pairwise(boxes))
