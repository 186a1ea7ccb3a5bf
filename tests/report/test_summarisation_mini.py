"""What docs/how-to/summarise.md says that summarisation-mini found is what its tables hold, and its study asks for."""

import csv
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TABLES = ROOT / "docs" / "benchmarks" / "summarisation-mini"
PAGE = (ROOT / "docs" / "how-to" / "summarise.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## What an hour on two cores found") :]
SHOWN = {
    "memory_direction": {"less": "less memory", "more": "more memory"},
    "tokens_direction": {"less": "fewer tokens", "more": "more tokens"},
}


def rows(name: str) -> list[dict[str, str]]:
    with (TABLES / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


WEIGHED = {row["recipe"]: row for row in rows("trade-offs") if row["section"] == "smollm2-135m"}
TOLD = dict(re.findall(r"^\| `([a-z-]+)`[^|]*\| (.+) \|$", SECTION, re.MULTILINE))


def percent(ratio: str) -> str:
    value = round(100 * (float(ratio) - 1))
    return f"{value:+d} %".replace("-", "−") if value else "0 %"


def test_each_recipe_of_the_pretrained_model_has_a_line() -> None:
    study = yaml.safe_load((ROOT / "config" / "studies" / "summarisation-mini.yaml").read_text())
    assert set(TOLD) == set(WEIGHED) == set(study["grids"][0]["recipes"]) - {"base"}


@pytest.mark.parametrize("recipe", WEIGHED)
def test_its_line_has_the_figures_of_the_trade_offs(recipe: str) -> None:
    memory, tokens, score, shown = TOLD[recipe].split(" | ")
    row = WEIGHED[recipe]
    assert (memory, tokens) == (percent(row["memory"]), percent(row["tokens"]))
    found = [words[row[key]] for key, words in SHOWN.items() if row[key]]
    difference = row["samsum test:rouge1"]
    if difference:
        told = [f"{float(row[f'samsum test:rouge1{part}']):+.1f}".replace("-", "−") for part in ("", "_low", "_high")]
        assert score == "{} [{}, {}]".format(*told)
        found += ["worse"] if float(difference) < 0 and float(row["samsum test:rouge1_p_holm"]) < 0.05 else []
    else:
        assert score == "0, the same words"
    assert shown == (", ".join(found) or "nothing")


def test_the_sentences_have_the_figures_of_the_other_tables() -> None:
    runs = {
        (row["model"], row["parallel"], row["recipe"], row["precision"], row["seed"]): row for row in rows("comparison")
    }
    base = runs["smollm2-135m", "single", "base", "bf16", "1"]
    assert f"{float(base['peak_memory']) / 2**30:.1f} GiB" in SECTION
    assert f"ROUGE-1 {float(base['rouge-samsum-test:rouge1']):.1f}" in SECTION
    assert "at step 16 of 20" in runs["smollm2-135m", "single", "early-stopping", "bf16", "1"]["outcome_reason"]
    last = {row["search"]: row for row in rows("searches") if row["generation"] == "2" and row["slot_winner"] == "True"}
    assert f"ended at a validation loss of {float(last['rate-pbt']['loss']):.3f}" in SECTION
    assert f"a grid at {float(last['rate-grid']['loss']):.3f}" in SECTION
    one, *several = (
        float(runs["bart-4m", parallel, "base", "fp32", "1"]["validation_loss"])
        for parallel in ("single", "ddp", "zero2", "zero2-offload")
    )
    assert max(abs(loss - one) for loss in several) < 2e-8
    (sortish,) = (row for row in rows("trade-offs") if (row["section"], row["recipe"]) == ("bart-4m", "sortish"))
    hours = [round(100 * (1 - float(sortish[f"hours{part}"]))) for part in ("", "_highest", "_lowest")]
    assert "took {} % fewer device hours [{} to {}]".format(*hours) in re.sub(r"\s+", " ", SECTION)
    assert f"took {float(WEIGHED['label-smoothing']['hours']):.2f} times as long" in re.sub(r"\s+", " ", SECTION)
