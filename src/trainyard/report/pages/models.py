"""The models of a study: family, shape and parameters."""

from collections.abc import Mapping
from pathlib import Path

from trainyard.config.catalogue import Model
from trainyard.config.study import Study
from trainyard.estimate.parameters import parameters, parameters_without_embeddings
from trainyard.report.render.format import short
from trainyard.report.render.html import Cell, Column, Row, Table, write_table

SHAPE = ("layers", "decoder_layers", "width", "heads", "key_value_heads", "feed_forward", "context", "vocabulary")
COLUMNS = [
    Column("model", "model", text=True),
    Column("title", "title", text=True, shown=False),
    Column("family", "family", text=True),
    Column("parameters", "all", "parameters"),
    Column("parameters_without_embeddings", "without embeddings", "parameters"),
    Column("layers", "layers", "shape"),
    Column("decoder_layers", "decoder layers", "shape"),
    Column("width", "width", "shape"),
    Column("heads", "heads", "shape"),
    Column("key_value_heads", "KV heads", "shape"),
    Column("feed_forward", "feed-forward", "shape"),
    Column("context", "context", "shape"),
    Column("vocabulary", "vocabulary", "shape"),
    Column("tokenizer", "tokenizer", text=True),
    Column("weights", "weights", text=True),
]


def tabulate(study: Study, *, models: Mapping[str, Model], table: Path, numbers: Path) -> None:
    """Write family, shape and parameters of each model as HTML and CSV.

    Args:
        study: gives the title.
        models: the study's models by name.
        table: the HTML page.
        numbers: the CSV.
    """
    rows = [_row(name, model) for name, model in models.items()]
    used = {key for row in rows for key in row.cells}
    notes = ["Parameters follow from the shape; tied weights count once. A dash in a shape is the family's own choice."]
    page = Table("Models", [column for column in COLUMNS if column.key in used], rows, notes, "No models.")
    write_table(page, study.title, table, numbers)


def _row(name: str, model: Model) -> Row:
    cells = {
        "model": Cell(name, name, tip=model.title),
        "title": Cell(model.title, model.title),
        "family": Cell(model.family, model.family),
    }
    for key, count in (
        ("parameters", parameters(model)),
        ("parameters_without_embeddings", parameters_without_embeddings(model)),
    ):
        cells[key] = Cell(short(count), count, tip=f"{count:,}")
    shape = {key: getattr(model.shape, key) for key in SHAPE}
    cells |= {key: Cell(f"{value:,}", value) for key, value in shape.items() if value is not None}
    origin = "from scratch"
    if model.weights is not None:
        origin = " ".join(str(value) for key, value in model.weights.model_dump().items() if key in ("hub", "package"))
    cells |= {"tokenizer": Cell(model.tokenizer, model.tokenizer), "weights": Cell(origin, origin)}
    return Row(cells)
