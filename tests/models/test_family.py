"""The two files of a family agree, and what they lack is said by file and key."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import yaml

import trainyard.models
from how_to import listed_files
from trainyard.config.catalogue import Model, ParallelSetting, Shape
from trainyard.core.errors import InputError
from trainyard.estimate import families
from trainyard.estimate.activations import BatchShape, activations
from trainyard.estimate.families import FAMILIES, check_model, check_name, load_family
from trainyard.estimate.families.base import Split
from trainyard.estimate.memory import predict
from trainyard.models.build import build
from trainyard.models.family import load_module, pipeline_split, tensor_split
from trainyard.models.special_tokens import SpecialTokens
from trainyard.plan.capabilities import explain_never_supported

COUNTED, MADE = "src/trainyard/estimate/families", "src/trainyard/models"
DDP, *SETTINGS = (
    ParallelSetting.model_validate({"title": "", "precision": ["fp32"], **setting})
    for setting in ({"engine": "ddp"}, {"engine": "tensor", "tensor": 2}, {"engine": "pipeline", "pipeline": 2})
)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_can_split_a_family_is_what_its_file_tells_how(family: str) -> None:
    module = load_module(family)
    told = {split for split in get_args(Split) if hasattr(module, f"{split.upper()}_SPLIT")}
    assert load_family(family).splits == told


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tensor_split_is_that_of_transformers_where_it_has_one(family: str) -> None:
    shape = Shape.model_validate({"layers": 1, "width": 32, "heads": 4, "context": 16, "vocabulary": 300})
    config = load_module(family).configuration(shape, SpecialTokens(pad=0, start=1, end=2))
    for name, style in (config.base_model_tp_plan or {}).items():
        ours = tensor_split(family)
        assert name.rpartition(".")[2] in (ours.columns if style == "colwise" else ours.rows)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Model]:
    """The family of the page `add a model` under another name, with parts of its two files replaced."""
    for package, folder in ((families, COUNTED), (trainyard.models, MADE)):
        (tmp_path / folder).mkdir(parents=True)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / folder)])
    monkeypatch.setattr(families, "FAMILIES", (*FAMILIES, "novel"))
    listed = listed_files("add-a-model.md")

    def written(replaced: dict[str, str | None] | None = None) -> Model:
        for folder in (COUNTED, MADE):
            text = listed[f"{folder}/mistral.py"]
            for old, new in (replaced or {}).items():
                text = text.replace(old, new or "")
            (tmp_path / folder / "novel.py").write_text(text)
            sys.modules.pop(f"trainyard.{folder.removeprefix('src/trainyard/').replace('/', '.')}.novel", None)
        importlib.invalidate_caches()
        (entry,) = yaml.safe_load(listed["config/models.yaml"]).values()
        return Model.model_validate(entry | {"family": "novel"})

    return written


def test_a_family_that_is_whole_is_built_counted_and_split(make: Callable[..., Model]) -> None:
    entry = make()
    check_model(entry, "models.yaml: tiny")
    assert build(entry, "tiny").config.model_type == "mistral"
    assert [explain_never_supported(setting, "novel", "fp32", 2) for setting in SETTINGS] == [None, None]
    assert tensor_split("novel").rows
    assert pipeline_split("novel").blocks == "layers"


def test_a_family_that_nobody_knows_is_an_error_that_tells_where_it_goes() -> None:
    with pytest.raises(InputError, match=r"tiny.family: no family of models is called 'lama'; did you mean 'llama'\?"):
        check_name("lama", "config/models.yaml: tiny.family")
    with pytest.raises(InputError, match=f"a new one is two files, in {COUNTED} and {MADE}"):
        load_family("build")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    parameters=_parameters,\n", "", f"{COUNTED}/novel.py: .* missing .* argument: 'parameters'"),
        ("    parameters=", "    count=", f"{COUNTED}/novel.py: .* unexpected keyword argument 'count'"),
        ("FAMILY = ", "OTHER = ", f"{COUNTED}/novel.py: FAMILY: this is missing"),
        ('"pipeline"})', '"pipline"})', f"{COUNTED}/novel.py: .*splits: no 'pipline'; there are tensor, pipeline"),
        ("parameters=_parameters", "parameters=3", f"{COUNTED}/novel.py: .*parameters is a function of a shape"),
        ("FAMILY = ", "import nowhere\nFAMILY = ", f"{COUNTED}/novel.py: .*No module named 'nowhere'"),
        (
            "    parameters=",
            "    is_encoder_decoder=True,\n    parameters=",
            f"{COUNTED}/novel.py: saved.decoder_block: an encoder-decoder has one",
        ),
        ('"head_width", ', "", None),
    ],
)
def test_what_an_entry_lacks_is_an_error_by_file_and_key(
    make: Callable[..., Model], old: str, new: str, said: str | None
) -> None:
    entry = make({old: new})
    if said is None:
        wide = entry.model_copy(update={"shape": entry.shape.model_copy(update={"head_width": 32})})
        said, entry = r"tiny.shape.head_width: novel has none \(llama, t5 do\); leave it out", wide
    with pytest.raises(InputError, match=said):
        check_model(entry, "config/models.yaml: tiny")


@pytest.mark.parametrize("key", ["MODEL", "DROPOUT", "configuration"])
def test_what_the_file_of_models_lacks_is_an_error_by_file_and_key(make: Callable[..., Model], key: str) -> None:
    entry = make({f"{key} = ": "OTHER = ", f"def {key}(": "def other("})
    with pytest.raises(InputError, match=f"{MADE}/novel.py: {key}: this is missing"):
        build(entry, "tiny")


def test_a_family_without_a_file_of_models_is_an_error_before_anything_runs(
    make: Callable[..., Model], tmp_path: Path
) -> None:
    entry = make()
    (tmp_path / MADE / "novel.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(InputError, match=f"tiny.family: {MADE}/novel.py: no such file"):
        check_model(entry, "config/models.yaml: tiny")
    with pytest.raises(InputError, match=f"{MADE}/novel.py: no such file"):
        build(entry, "tiny")


def test_a_split_that_a_family_lacks_is_a_reason_not_to_run(make: Callable[..., Model]) -> None:
    make({'    splits=frozenset({"tensor", "pipeline"}),\n': ""})
    for setting in SETTINGS:
        said = f"can't split novel models: splits of src/trainyard/estimate/families/novel.py lacks {setting.engine!r}"
        assert explain_never_supported(setting, "novel", "fp32", 2) == said
    assert explain_never_supported(DDP, "novel", "fp32", 2) is None


def test_a_split_that_an_entry_promises_in_vain_is_an_error_by_file_and_key(make: Callable[..., Model]) -> None:
    make({"TENSOR_SPLIT = ": "ONE = ", "PIPELINE_SPLIT = ": "OTHER = "})
    for find, key in ((tensor_split, "TENSOR_SPLIT"), (pipeline_split, "PIPELINE_SPLIT")):
        with pytest.raises(InputError, match=f"{MADE}/novel.py: {key}: this is missing"):
            find("novel")


def test_a_family_whose_activations_nobody_has_counted_gets_no_estimate(make: Callable[..., Model]) -> None:
    entry = make({"    saved=Saved(_block, _ends),\n": ""})
    check_model(entry, "config/models.yaml: tiny")
    settings: dict = {"processes": 2, "precision": "fp32", "micro_batch": 2, "sequence_length": 16}
    assert predict(entry, DDP, **settings) is None
    with pytest.raises(InputError, match=f"{COUNTED}/novel.py: FAMILY.saved: this is missing"):
        activations(entry, BatchShape(2, 16, 16), "fp32")
