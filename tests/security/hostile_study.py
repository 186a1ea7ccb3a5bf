"""A study whose every text means harm, and secrets that nobody may read."""

import json
from pathlib import Path
from typing import Any

SECRETS = {
    "HF_TOKEN": "hf_nobodyMayReadThisOne",
    "HUGGING_FACE_HUB_TOKEN": "hf_norThisOne",
    "AWS_SECRET_ACCESS_KEY": "wJalrNorThisOne",
    "WANDB_API_KEY": "0123nobodyMayReadThisKey",
    "PIP_INDEX_URL": "https://user:nobodyMayReadThisPassword@example.invalid/simple",
}
RUN = "window.RAN = 1"
HARMS = {
    "script": f"<script>{RUN}</script>",
    "image": f"<img src=x onerror='{RUN}'>",
    "drawing": f"<svg onload='{RUN}'>",
    "closing tags": f"</p></td></tr></table></script></style></title></textarea><script>{RUN}</script>",
    "attribute": f'" onmouseover="{RUN}" onfocus="{RUN}" autofocus tabindex="1" x="',
    "frame": f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    "refresh": "<meta http-equiv=refresh content='0;url=https://example.invalid/'>",
    "link": f"<a href='javascript:{RUN}'>here</a> [here](javascript:{RUN}) `here <javascript:{RUN}>`_",
    "template": "{{ 7 * 7 }} {% for x in 'ab' %}x{% endfor %} ${7*7} <%= 7*7 %> {snakemake.params}",
    "elsewhere": "<link rel=stylesheet href=https://example.invalid/a.css><img src=//example.invalid/a.png>",
    "mathematics": r"$\frac{1}{2}$ $\href{javascript:1}{x}$ $",
    "formula": "=cmd|' /C calc'!A0",
    "comment": "<!-- ]]> --> &lt;script&gt; &amp;",
}
ALL = " ".join(HARMS.values())
LONG = "x" * 3_000
CURRENCY = "<img src=//a.b/>"  # as long as one may be
TITLE = f"Marked {ALL}"


def rows(kind: str, count: int) -> list[dict[str, Any]]:
    """Rows with a harm each, and a word to find them by."""
    found = []
    for number in range(count):
        harm = list(HARMS.values())[number % len(HARMS)]
        text = f"row{number} {harm} {LONG if number % 7 == 6 else ''} and so it went on until the end of row{number}"
        item = {"ctx_a": text, "ctx_b": "", "ctx": text, "endings": [f"{harm} {n}" for n in range(4)]}
        choice = {"activity_label": harm, "label": number % 4, "level": harm, **item}
        found.append({"text": text} if kind == "text" else choice)
    return found


def write_sources(folder: Path) -> dict[str, Any]:
    """Files of such rows, and the entries of the catalogue that name them."""
    entries = {}
    for name, kind, splits in (
        ("hostile-text", "text", {"train": 120, "validation": 20, "test": 20}),
        ("hostile-items", "choices", {"validation": 13}),
    ):
        files = {}
        for split, count in splits.items():
            path = folder / f"{name}-{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows(kind, count)), encoding="utf-8")
            files[split] = str(path)
        entry = {"title": TITLE, "kind": kind, "licence": ALL, "source": {"files": files}}
        entries[name] = entry | {"splits": {split: split for split in splits}}
    return entries


STUDY = {
    "title": TITLE,
    "question": f"Question {ALL} {LONG}",
    "grids": [
        {
            "datasets": ["hostile-text"],
            "models": ["gpt2-tiny"],
            "train": {
                **{"steps": 2, "batch": 2, "sequence_length": 32, "learning_rate": 1e-3},
                **{"validate_every": 1, "validation_tokens": 64, "checkpoint_every": 2},
            },
            "evaluate": {
                "hellaswag": {"datasets": ["hostile-items"]},
                "samples": {"prompts": 13, "prompt_words": 12, "new_tokens": 4},
            },
        }
    ],
    "published": [
        {
            "model": f"published {ALL}",
            "values": {"validation_loss": 3.0, "hellaswag_acc": 31.1},
            "protocol": f"protocol {ALL}",
            "source": f"=source {ALL}",
        }
    ],
}
