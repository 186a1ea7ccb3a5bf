"""Bad configuration: the error names the file, the key and the remedy, and nothing runs."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainyard.core.errors import InputError
from trainyard.plan.configuration import Plan, make_plan

GOOD = yaml.safe_load("""
title: A study
question: Does it plan?
grids:
  - datasets: [tinyworld]
    models: [gpt2-tiny]
    train: {steps: 10, batch: 8, sequence_length: 64, learning_rate: 1.0e-3}
""")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good study with the value at `path` set, or deleted where it is None."""
    study = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = study
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return study


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("qestion", "x", ["s.yaml: qestion: no such key", "did you mean 'question'?"]),
        ("title", None, ["s.yaml: title: this key is missing"]),
        ("grids.0.modles", ["x"], ["grids.0.modles: no such key", "did you mean 'models'?"]),
        ("grids.0.models", ["gpt2-tyni"], ["grids.0.models: no model named 'gpt2-tyni'", "'gpt2-tiny'"]),
        ("grids.0.datasets", ["tinyword"], ["grids.0.datasets", "no dataset named 'tinyword'", "'tinyworld'"]),
        ("grids.0.parallel", ["zero4"], ["grids.0.parallel", "'zero4'", "did you mean 'zero"]),
        ("grids.0.precision", ["bf61"], ["grids.0.precision.0", "did you mean 'bf16'?"]),
        ("grids.0.precision", ["bf61"], ["grids.0.precision.0", "(allowed: bf16, fp16, fp32)"]),
        ("grids.0.train.steps", True, ["grids.0.train: steps: should be a number; yes, no, on and off"]),
        ("grids.0.train.clip", 1.0, ["grids.0.train: clip is called max_grad_norm: write max_grad_norm: 1.0"]),
        ("grids.0.train.max_grad_norm", False, ["grids.0.train: max_grad_norm: should be a number"]),
        ("grids.0.seeds", [True], ["grids.0: seeds: should be a number"]),
        ("grids.0.seeds", [], ["grids.0.seeds: is empty; name 1 or more"]),
        ("grids.0.train.learning_rte", 1.0, ["train.learning_rte: no such key", "'learning_rate'"]),
        ("grids.0.train.learning_rate", -1.0, ["learning_rate", "greater than 0", "given: -1.0"]),
        ("grids.0.train.learning_rate", None, ["learning_rate: this key is missing"]),
        ("grids.0.train.steps", None, ["exactly one of steps, tokens, epochs (given: none)"]),
        ("grids.0.train.tokens", 100, ["exactly one of steps, tokens, epochs (given: steps, tokens)"]),
        ("grids.0.train.micro_batch", 3, ["train.batch: 8 is not a multiple of 3 (micro_batch 3); make it 6 or 9"]),
        ("grids.0.train.sequence_length", 4096, ["sequences of 4096 tokens", "reads 256 at most"]),
        (
            "grids.0.train",
            {"steps": 4, "batch": 8, "learning_rate": 1e-3, "patience": 2, "keep_steps": [2]},
            ["grids.0.train: give patience or keep_steps, not both"],
        ),
        ("grids.0.train.freeze", ["head"], ["train.freeze.0: 'head' is no part of a model: write embeddings, encoder"]),
        ("grids.0.train.freeze", ["blocks.3-1"], ["train.freeze.0: 'blocks.3-1': 1 comes before 3"]),
        ("grids.0.train.freeze", ["encoder"], ["train.freeze: ", "has no encoder; its parts are embeddings, blocks.0"]),
        ("grids.0.train.freeze", ["blocks.0-99"], ["train.freeze: blocks.0-99: the last block of "]),
        ("grids.0.train.lora", {"rank": 0}, ["train.lora.rank: should be greater than 0"]),
        ("grids.0.train.lora", {"rank": 4096}, ["train.lora.rank: 4096 is more than c_attn of gpt2-tiny can have"]),
        (
            "grids.0.train.lora",
            {"targets": ["q_proj"]},
            ["train.lora.targets: gpt2-tiny (gpt2) has no linear layer q_proj in its blocks; it has c_attn, c_proj"],
        ),
        (
            "grids.0.train",
            {"steps": 4, "batch": 8, "learning_rate": 1e-3, "lora": {}, "freeze": ["embeddings"]},
            ["grids.0.train: give freeze or lora, not both"],
        ),
        ("grids.0.train.attention", {"window": 0}, ["train.attention.window", "greater than 0"]),
        ("grids.0.train.attention", {"span": 8}, ["train.attention.span"]),
        ("grids.0.train.order", "sortish", ["train.order: windows of text are all as long, so sortish is random"]),
        ("grids.0.train.initial", "pretrained", ["gpt2-tiny has no pretrained weights"]),
        ("grids.0.processes", [0], ["grids.0.processes.0", "greater than 0"]),
        (
            "grids.0.recipes",
            {"fast": {"max_grad_nrm": 1.0}},
            ["max_grad_nrm: no such key", "did you mean 'max_grad_norm'?"],
        ),
        (
            "grids.0.overrides",
            {"models": {"gpt2-1m": {}}},
            ["overrides.models: no model of this grid named 'gpt2-1m'"],
        ),
        (
            "grids.0.datasets",
            ["samsum"],
            ["source_length: 512, with a separator and target_length 90, makes texts of 610"],
        ),
        ("grids.0.datasets", ["hellaswag"], ["hellaswag holds multiple-choice items, nothing to train on"]),
        ("evaluate", {"perplexity": {"datasets": ["samsum"]}}, ["evaluate.perplexity.datasets: samsum holds pairs"]),
        (
            "evaluate",
            {"perplexity": {"split": "dev"}},
            ["perplexity.split: 'dev' is not allowed (allowed: test, train, validation)"],
        ),
        ("evaluate", {"perplexity": {}, "checkpoints": ["lats"]}, ["keeps no 'lats'", "did you mean 'last'?"]),
        (
            "evaluate",
            {"perplexity": {"checkpoints": ["step-5"]}},
            ["evaluate.perplexity.checkpoints: tinyworld_gpt2-tiny", "no 'step-5'; add 5 to its train.keep_steps"],
        ),
        ("evaluate", {"perplexity": {}, "checkpoints": ["kept"]}, ["checkpoints: ", "keeps no steps; name some in"]),
        ("evaluate", {"samples": {"datasets": ["samsum"]}}, ["evaluate.samples.datasets: samsum holds pairs"]),
        ("evaluate", {"samples": {"temperature": -1.0}}, ["samples.temperature", "greater than or equal to 0"]),
        ("grids.0.train.keep_steps", [4, 11], ["grids.0.train.keep_steps: 11 lies after the last step, 10"]),
        ("evaluate", {"contamination": {"ngrams": 8}}, ["evaluate.contamination.ngrams: no such key", "'ngram'"]),
        ("evaluate", {"contamination": {"ngram": 0}}, ["evaluate.contamination.ngram", "greater than 0"]),
        ("evaluate", {"contamination": {}}, ["evaluate.contamination: no run is trained here and scored", "remove it"]),
        ("pretrained", ["gpt2-tiny"], ["pretrained: gpt2-tiny has no pretrained weights"]),
        (
            "probes",
            [{"parallel": ["ddp"], "train": {"max_grad_norm": 1.0}}],
            ["probes.0.train.max_grad_norm: every probe has its own"],
        ),
        ("pretrained", ["gpt2-124m"], ["no metric of the study's `evaluate` suits gpt2-124m"]),
        ("probes", [{"parallel": ["ddp"], "stpes": 3}], ["probes.0.stpes: no such key", "did you mean 'steps'?"]),
        ("published", [{"model": "x", "values": {"rouge3": 1}, "protocol": "p", "source": "s"}], ["rouge3", "rouge"]),
        ("grids", [*GOOD["grids"], *GOOD["grids"]], ["appears in two grids"]),
        ("grids.0.train.betas", [0.9, 1.0], ["grids.0.train.betas.1: should be less than 1 (given: 1.0)"]),
        ("grids.0.seeds", [20240520123456], ["grids.0.seeds.0: should be less than 4294967296"]),
        ("grids.0.seeds", [1, 1], ["grids.0.seeds: 1 appears twice"]),
        ("grids.0.models", "gpt2-tiny", ["grids.0.models: should be a list: write [gpt2-tiny]"]),
        (
            "grids.0.evaluate",
            {"perplexity": None},
            ["grids.0.evaluate.perplexity: is empty; write `perplexity: {}`"],
        ),
        (
            "grids",
            [
                {**GOOD["grids"][0], "evaluate": {"perplexity": {"context": 64}}},
                {**GOOD["grids"][0], "models": ["opt-tiny"], "evaluate": {"perplexity": {"context": 32}}},
            ],
            ["perplexity on tinyworld is asked for with context 64", "and 32", "in one column; ask for one"],
        ),
        ("grids.0.train.warmup_steps", 11, ["train.warmup_steps: 11 is more than the 10 steps of the run"]),
        ("evaluate", {"perplexity": {"context": 9999}}, ["evaluate.perplexity.context: 9999 tokens, but gpt2-tiny"]),
        ("evaluate", {"perplexity": {"context": 64, "stride": 65}}, ["perplexity.stride: 65 is more than the context"]),
        ("evaluate", {"samples": {"new_tokens": 250}}, ["evaluate.samples.new_tokens: 250 after a prompt of 16 words"]),
        ("evaluate", {"rouge": {"datasets": ["samsum"]}}, ["evaluate.rouge: needs a model that is trained on pairs"]),
        (
            "grids.0.evaluate",
            {"rouge": {"min_length": 99}},
            ["grids.0.evaluate.rouge: min_length: 99 is more"],
        ),
        (
            "measure",
            [{"models": ["gpt2-tiny"], "parallel": ["gemini"], "batch": [1], "sequence_length": [8]}],
            ["none"],
        ),
        (
            "evaluate",
            {"hellaswag": {"datasets": ["tinyworld-endings"], "shots": [100]}},
            ["evaluate.hellaswag.shots: 100 are drawn from the 100 last rows of the split"],
        ),
        (
            "expect",
            {"other": {"memory": "less"}},
            ["expect.other: no recipe of the study is called so: it has base alone"],
        ),
        ("expect", {"base": {"memory": "low"}}, ["expect.base.memory: 'low' is not allowed"]),
        ("primary", "hellaswag", ["primary: 'hellaswag' is not evaluated; leave it out"]),
        ("grids", [], ["give at least one of grids, pretrained, tune, probes and measure"]),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(
    plan: Callable[..., Plan], path: str, value: Any, said: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        plan(changed(path, value))
    for words in said:
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: [unclosed", "s.yaml, line"),
        ("- a list", "should contain `key: value` lines, but contains list"),
        ("title: a\ntitle: b", "the key 'title' appears twice"),
        ("title: !!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("", "should contain `key: value` lines, but contains NoneType"),
        ("title: a\nsteps: 010", "s.yaml, line 2: not valid YAML: 010 is 8 to YAML; write 8"),
        ("title: a\nsteps: 1:30", "1:30 is 90 to YAML; write 90, or put a name in quotes"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_named_with_its_line(plan: Callable[..., Plan], text: str, said: str) -> None:
    with pytest.raises(InputError, match=r"s\.yaml") as error:
        plan(text)
    assert said in str(error.value)


def test_every_mistake_of_a_file_is_told_at_once(plan: Callable[..., Plan]) -> None:
    study = changed("qestion", "x")
    del study["title"]
    with pytest.raises(InputError) as error:
        plan(study)
    assert len(str(error.value).splitlines()) == 2


def test_an_unknown_study_gets_the_nearest_name(folder: Path) -> None:
    (folder / "studies" / "demo.yaml").write_text("title: x")
    with pytest.raises(InputError, match="no study named 'dmeo'; did you mean 'demo'"):
        make_plan({"studies": "dmeo"}, folder)


def test_a_mirror_that_is_not_there_is_named_and_none_in_any_spelling_is_none(
    plan: Callable[..., Plan], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"config\.yaml: mirror: /nowhere/hub: no such folder; name a folder"):
        plan(mirror="/nowhere/hub")
    assert plan(mirror=str(tmp_path)).config.mirror == str(tmp_path)
    assert {plan(mirror=none).config.mirror for none in (None, "", "none", "null")} == {None}


def test_a_study_is_not_called_as_a_folder_of_results(folder: Path) -> None:
    (folder / "studies" / "data.yaml").write_text("title: x")
    with pytest.raises(InputError, match=r"data\.yaml: results/data holds no study: give the file another name"):
        make_plan({"studies": "data"}, folder)


def test_an_unknown_key_of_config_yaml_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"config.yaml: miror: no such key; did you mean 'mirror'"):
        make_plan({"studies": "demo", "miror": "x"}, folder)


@pytest.mark.parametrize(
    ("resume", "said"),
    [
        ("now", "config.yaml: resume: 'now' is not allowed (allowed: anyway)"),
        (True, "config.yaml: resume: should be 'anyway' (given: True)"),
    ],
)
def test_a_way_to_resume_that_there_is_not_is_named_with_the_one_that_there_is(
    plan: Callable[..., Plan], resume: object, said: str
) -> None:
    with pytest.raises(InputError) as error:
        plan(resume=resume)
    assert said in str(error.value)
    assert [plan(resume=each).config.resume for each in ("anyway", None, "none")] == ["anyway", None, None]


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ({"cuda": 2.5}, "config.yaml: prices.currency: this key is missing"),
        ({"currency": "EUR", "gpu": 2.5}, "config.yaml: prices.gpu: no such key"),
        ({"currency": "EUR", "cpu": -1.0}, "config.yaml: prices.cpu: "),
    ],
)
def test_prices_that_can_not_be_are_named(folder: Path, prices: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        make_plan({"studies": "demo", "prices": prices}, folder)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("energy", "said"),
    [
        ({"watts": 5}, "config.yaml: energy.watts: no such key"),
        ({"pue": 0.9}, "config.yaml: energy.pue: "),
        ({"watts_per_core": 0}, "config.yaml: energy.watts_per_core: "),
        ({"grid": {"grams_per_kwh": 21.3}}, "config.yaml: energy.grid.source: this key is missing"),
        ({"grid": {"grams_per_kwh": -1, "source": "s"}}, "config.yaml: energy.grid.grams_per_kwh: "),
    ],
)
def test_energy_that_can_not_be_is_named(folder: Path, energy: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        make_plan({"studies": "demo", "energy": energy}, folder)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        ({"tflops": 100}, "config.yaml: estimate.watts: this key is missing"),
        ({"tflops": 0, "watts": 400}, "config.yaml: estimate.tflops: "),
        ({"tflops": 100, "watts": 400, "mfu": 0.4}, "config.yaml: estimate.mfu: no such key"),
    ],
)
def test_an_estimate_that_can_not_be_is_named(folder: Path, estimate: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        make_plan({"studies": "demo", "estimate": estimate}, folder)
    assert said in str(error.value)


def test_a_dataset_without_a_source_is_named_by_entry_and_key(folder: Path) -> None:
    entry = {"title": "t", "kind": "text", "source": {"hub": "a/b", "revison": "x"}, "splits": {"train": "train"}}
    (folder / "datasets.yaml").write_text(yaml.safe_dump({"mine": entry | {"licence": "MIT"}}))
    with pytest.raises(InputError) as error:
        make_plan({"studies": "demo"}, folder)
    assert "datasets.yaml: mine.source.revision: this key is missing" in str(error.value)
    assert "mine.source.revison: no such key; did you mean 'revision'?" in str(error.value)


def test_a_model_whose_vocabulary_is_too_small_for_its_tokenizer_is_named(folder: Path) -> None:
    models = yaml.safe_load((folder / "models.yaml").read_text())
    models["gpt2-124m"]["shape"]["vocabulary"] = 50_000
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    with pytest.raises(InputError, match=r"gpt2-124m.shape.vocabulary: 50000 is less than the 50257 tokens of gpt2"):
        make_plan({"studies": "demo"}, folder)


def test_one_pair_of_data_has_one_size_of_n_grams(plan: Callable[..., Plan]) -> None:
    study = copy.deepcopy(GOOD)
    study["grids"].append({**copy.deepcopy(GOOD["grids"][0]), "models": ["opt-tiny"]})
    for grid, ngram in zip(study["grids"], (8, 13), strict=True):
        grid["evaluate"] = {"perplexity": {}, "contamination": {"ngram": ngram}}
    with pytest.raises(InputError, match=r"contamination\.ngram: 13 and 8 for tinyworld test in tinyworld; give one"):
        plan(study)
