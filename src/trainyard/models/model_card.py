"""The model card: README.md beside exported weights, as the hub wants it."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from trainyard.core.code_versions import CodeVersion, trained_by

_LIMITS = "## Limits"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$])")


def render_model_card(
    specification: Mapping[str, Any],
    step: int,
    results: Mapping[str, float | int | str | None],
    environment: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    versions: Sequence[CodeVersion] = (),
    window_is_read: bool = False,
) -> str:
    """The text of a model's README.md.

    Args:
        specification: what the run depends on (spec.json).
        step: after how many steps these weights stood.
        results: losses and the like, by name.
        environment: versions, hardware, commit (provenance.json), by name.
        dataset: the index of the training tokens (source, revision, tokens), by name.
        versions: of the code that trained it up to this step.
        window_is_read: whether transformers itself heeds the window of attention, where there is one.

    Returns:
        Markdown with a YAML header. Text from data is escaped: it can't become markup.
    """
    model = specification["model"]
    parts = [
        _header(specification, dataset or {}),
        f"# {_text(model['name'])}, run {_text(specification['run'])}\n",
        f"{_summary(specification, step)}{_trained_by(versions)}{_adapters(specification)}\n",
        _window(specification, window_is_read),
        _table("Results", results),
        _table("Training", _training(specification, step)),
        _table("Model", {"family": model["family"], "tokenizer": model["tokenizer"], **_list_settings(model["shape"])}),
        _table("Data", _flatten(dataset or {})),
        _table("Trained by", _commits(versions)),
        _table("Made with", _flatten(environment or {})),
        _limits(specification),
    ]
    return "\n".join(part for part in parts if part)


def extend_model_card(card: str, header: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """A card with what became known after its weights were written.

    Args:
        card: as `render_model_card` made it.
        header: further keys of the YAML header.
        tables: by their titles, further names and values, above the limits that the card ends with.
    """
    _, before, body = card.split("---\n", 2)
    after = yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True) if header else ""
    text, limits = body.split(f"{_LIMITS}\n", 1)
    parts = [text, *(table + "\n" for title, rows in tables.items() if (table := _table(title, rows)))]
    return f"---\n{before}{after}---\n{''.join(parts)}{_LIMITS}\n{limits}"


def _header(specification: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    model = specification["model"]
    weights = model.get("weights") or {}
    header: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "summarization" if specification["task"] == "summarisation" else "text-generation",
        "tags": ["trainyard", model["family"], specification["parallel"]["name"]],
    }
    if specification["train"].get("initial") == "pretrained" and "hub" in weights:
        header["base_model"] = weights["hub"]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(dataset.get("source", ""))):
        header["datasets"] = [dataset["source"]]
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n"


def _summary(specification: Mapping[str, Any], step: int) -> str:
    start = specification["train"].get("initial", "scratch")
    origin = "from scratch" if start == "scratch" else "from pretrained weights"
    return (
        f"Trained {origin} on {_text(specification['dataset'])} for {step:,} steps, in the study "
        f"{_text(specification['study'])}, with the parallel setting {_text(specification['parallel']['name'])} over "
        f"{_text(specification['processes'])} process(es), by Trainyard."
    )


def _window(specification: Mapping[str, Any], is_read: bool) -> str:
    attention = specification["train"].get("attention")
    if not attention:
        return ""
    text = (
        f"## Attention\n\nThis model attends within a window of {attention['window']:,} positions, and was trained so: "
        "a decoder's position to itself and those before it, an encoder's to half as many on either side. "
    )
    if is_read:
        return f"{text}config.json says so in `sliding_window`, which transformers heeds.\n"
    return (
        f"{text}config.json says so in `attention_window`, which transformers does not read: loaded by it alone, each "
        "position attends to all, as it never did in training, and the results below do not hold. Trainyard's "
        "evaluations heed it; elsewhere, with Trainyard installed:\n\n"
        "```python\nfrom trainyard.models.window import use_window\n\nuse_window(model)  # after from_pretrained\n```\n"
    )


def _trained_by(versions: Sequence[CodeVersion]) -> str:
    return f" It was {words}." if (words := trained_by(versions)) else ""


def _adapters(specification: Mapping[str, Any]) -> str:
    if "lora" not in specification["train"]:
        return ""
    return " What was trained are adapters of low rank, merged into these weights; `adapter/` has them alone, for peft."


def _commits(versions: Sequence[CodeVersion]) -> dict[str, str]:
    return {f"from step {each.step:,}": str(each) for each in versions} if len(versions) > 1 else {}


def _training(specification: Mapping[str, Any], step: int) -> dict[str, Any]:
    names = ("task", "dataset", "recipe", "processes", "threads", "device", "precision", "seed")
    settings = _list_settings(specification["train"])
    parts = {name: settings.pop(name) for name in ("lora", "attention") if name in settings}
    nested = {f"{part}.{name}": value for part, own in parts.items() for name, value in _list_settings(own).items()}
    return {"step": step, **{name: specification[name] for name in names}, **settings, **nested}


def _limits(specification: Mapping[str, Any]) -> str:
    return (
        f"{_LIMITS}\n\n"
        f"These weights know what {_text(specification['dataset'])} holds"
        f"{' and what they were pretrained on' if specification['train'].get('initial') == 'pretrained' else ''}, "
        "with its errors and biases. They were made to compare ways of training, weren't tuned to follow "
        "instructions or to be safe here, and aren't meant for use by the public. The licences of the data "
        "and of any pretrained weights apply to them.\n"
    )


def _table(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {_text(name)} | {_text(value)} |" for name, value in rows.items()]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines, ""])


def _list_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value not in (None, [], {})}


def _flatten(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names; lists are left out."""
    flat: dict[str, Any] = {}
    for name, value in _list_settings(values).items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{before}{name}.")
        elif not isinstance(value, list):
            flat[f"{before}{name}"] = value
    return flat


def _text(value: object) -> str:
    """A value as one line of plain text inside Markdown."""
    text = f"{value:.6g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))
