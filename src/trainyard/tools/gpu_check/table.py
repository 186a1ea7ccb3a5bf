"""The results as a reader sees them: a line a case on the terminal, and tables in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainyard.core.text import markdown_table

_GIB = 2**30
_PRECISIONS = ("fp32", "bf16", "fp16")
_SPEEDS = ("operators", "measure")

Row = Mapping[str, Any]


def line(row: Row) -> str:
    """A case in a line."""
    seconds = f" ({row['seconds']:.0f} s)" if "seconds" in row else ""
    return f"{row['name']}: {_word(row)}{seconds}"


def outcome(rows: Sequence[Row], paths: Sequence[Path], seconds: float) -> str:
    """What came of a call, for the terminal."""
    wrong = [f"  {line(row)}" for row in rows if row["right"] is False]
    lines = [_counts(rows), *(["unexpected:", *wrong] if wrong else [])]
    if any(row["outcome"] == "not run" for row in rows):
        lines.append("time is up: run it again to continue with the rest")
    return "\n".join([*lines, f"{seconds:.0f} s; written: {', '.join(str(path) for path in paths)}"])


def markdown(content: Mapping[str, Any]) -> str:
    """The page of a machine."""
    rows: list[Row] = content["cases"]
    parts = [
        f"# {len(content['names'])} x {content['names'][0]}",
        f"{_counts(rows)}\n\nWritten {content['date']} by `{content['command']}`; the JSON file beside this page holds "
        "every loss, figure and reason. How to read it: [check a GPU machine](../how-to/check-a-gpu-machine.md).",
        _machine(content),
        _parity([row for row in rows if row["kind"] == "parity"]),
        _speed_table([row for row in rows if row["kind"] in _SPEEDS and not row["without"]]),
        _levers([row for row in rows if row["kind"] == "operators"]),
        _operators([row for row in rows if "operators" in row]),
        _phases([row for row in rows if row.get("phases")]),
        _limits([row for row in rows if row["kind"] in ("limit", "too-large")]),
        _experiments([row for row in rows if row["experiment"] and row["outcome"] != "unsupported"]),
        _reasons(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _word(row: Row) -> str:
    """What came of a case."""
    if row["kind"] == "parity" and row.get("largest") is not None:
        verdict = "within" if row["within"] else "NOT within"
        largest = f"{row['largest']:.1e}" if row["largest"] else "0"
        return f"{largest}, {verdict} {row['tolerance']:g}"
    if row["kind"] in _SPEEDS and row["outcome"] == "finished":
        memory = row["peak_device_memory"] or row["host_memory_increase"]
        return f"{row['tokens_per_second']:,.0f} tokens/s, {memory / _GIB:.2f} GiB"
    return row["outcome"] if row["reason"] is None else f"{row['outcome']}: {row['reason']}"


def _counts(rows: Sequence[Row]) -> str:
    parity = [row for row in rows if row["kind"] == "parity" and row.get("within") is not None]
    counted = {
        f"{sum(row['within'] for row in parity)} of {len(parity)} parity cases within their tolerance": True,
        f"{sum(row['kind'] in _SPEEDS and row['outcome'] == 'finished' for row in rows)} measured": True,
    }
    for kind in ("out-of-memory", "unsupported", "failed", "not run"):
        number = sum(row["outcome"] == kind for row in rows)
        counted[f"{number} {kind}"] = number > 0
    return ", ".join(text for text, count in counted.items() if count)


def _machine(content: Mapping[str, Any]) -> str:
    dirty = " with changes" if content["dirty"] else ""
    facts = {
        "commit": f"{content['commit']}{dirty}" if content["commit"] else "unknown",
        **content["versions"],
        "compute capability": content["capability"],
        "memory of a GPU": _gib(content["memory"]),
        "of which something else held": _gib(content["in_use"]),
    }
    return markdown_table(("what", "is"), [(name, value) for name, value in facts.items() if value is not None])


def _parity(rows: Sequence[Row]) -> str:
    """A line for each parallel setting and model, a column for each precision."""
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        where = (row["parallel"], str(row["processes"]), row["model"])
        cells.setdefault(where, {})[row["precision"]] = _word(row) if row.get("largest") is not None else row["outcome"]
    table_text = markdown_table(
        ("parallel setting", "processes", "model", *_PRECISIONS),
        [
            (*where, *(table_text.get(precision, "") for precision in _PRECISIONS))
            for where, table_text in cells.items()
        ],
    )
    tolerances = {f"{row['tolerance']:g}: {row['tolerance_reason']}" for row in rows if "tolerance" in row}
    return "\n\n".join(
        [
            "## Parity\n\nThe largest difference of the loss, in nats, from the reference: one process in fp32 on the "
            "same device that takes the same micro-batches, which predict unequal numbers of tokens, over 20 steps.",
            table_text,
            "Tolerances:\n\n" + "\n".join(f"- {text}." for text in sorted(tolerances)),
        ]
    )


def _speed_table(rows: Sequence[Row]) -> str:
    table_text = markdown_table(
        (
            "model",
            "parallel setting",
            "processes",
            "precision",
            "batch",
            "compiled",
            "ms per step (10 %, 90 %)",
            "samples/s",
            "tokens/s",
            "MFU",
            "peak GiB per device",
            "reserved",
            "predicted",
            "host GiB more",
        ),
        [_measured_row(row) for row in rows if row["outcome"] != "unsupported"],
    )
    lengths = sorted({row["sequence_length"] for row in rows})
    peaks = sorted({(row["mfu_formula"], row["peak_source"], row["peak_flops"]) for row in rows if "mfu" in row})
    sources = [f"MFU = {formula}; peak {flops / 1e12:.1f} TFLOP/s: {source}." for formula, source, flops in peaks]
    return "\n\n".join(
        [
            "## Speed and memory\n\nRandom weights and tokens; batch: sequences per process, of "
            f"{', '.join(str(length) for length in lengths)} tokens; the median of the steps after the warm-up.",
            table_text,
            *sources,
        ]
    )


def _measured_row(row: Row) -> tuple[str, ...]:
    compiled = "yes" if row["compiled"] else ""
    what = (row["model"], row["parallel"], row["processes"], row["precision"], row["batch"], compiled)
    if row["outcome"] != "finished":
        return (*(str(part) for part in what), row["outcome"], *[""] * 5, _format_prediction(row), "")
    milliseconds = [f"{1000 * row['step_seconds'][name]:,.0f}" for name in ("median", "p10", "p90")]
    return (
        *(str(part) for part in what),
        f"{milliseconds[0]} ({milliseconds[1]}, {milliseconds[2]})",
        f"{row['samples_per_second']:.2f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['mfu']:.1%}",
        _gib(row["peak_device_memory"]) or "",
        _gib(row["peak_device_memory_reserved"]) or "",
        _format_prediction(row),
        _gib(row["host_memory_increase"]) or "",
    )


def _levers(rows: Sequence[Row]) -> str:
    """How long a step takes without each lever, over how long it takes with all of them."""
    whole = {row["compiled"]: row for row in rows if row["without"] is None and row["outcome"] == "finished"}
    lines = []
    for row in rows:
        if row["without"] is None or row["outcome"] != "finished" or row["compiled"] not in whole:
            continue
        medians = [each["step_seconds"]["median"] for each in (row, whole[row["compiled"]])]
        compiled = "yes" if row["compiled"] else ""
        milliseconds = [f"{1000 * seconds:,.0f}" for seconds in medians]
        lines.append((row["without"], compiled, *milliseconds, f"{medians[0] / medians[1]:.2f}"))
    if not lines:
        return ""
    table_text = markdown_table(("lever", "compiled", "ms per step without it", "with all", "ratio"), lines)
    return f"## Levers\n\n{table_text}"


def _operators(rows: Sequence[Row]) -> str:
    """The slowest operators and kernels of each profiled case."""
    parts = []
    for row in rows:
        table_text = markdown_table(
            ("", "name", "calls a step", "ms a step", "share"),
            [
                (
                    each["kind"],
                    f"`{each['name'][:100]}`",
                    f"{each['calls']:g}",
                    f"{each['milliseconds']:.2f}",
                    f"{each['share']:.1%}",
                )
                for each in row["operators"]
            ],
        )
        step = 1000 * row["step_seconds"]["median"]
        parts.append(
            f"{row['name']}: of {step:,.0f} ms a step, computing {row['busy_milliseconds']:,.0f}.\n\n{table_text}"
        )
    why = "By their own time on the device, from torch's profiler."
    return "\n\n".join([f"## Operators\n\n{why}", *parts]) if parts else ""


def _phases(rows: Sequence[Row]) -> str:
    """The first steps of each phase that an engine tells."""
    lines = []
    for row in rows:
        for phase in dict.fromkeys(step["phase"] for step in row["phases"]):
            steps = [step for step in row["phases"] if step["phase"] == phase]
            milliseconds = 1000 * statistics.median(step["seconds"] for step in steps)
            memory = _gib(steps[-1]["device_memory_after"]) or ""
            lines.append((row["name"], phase, str(len(steps)), f"{milliseconds:,.0f}", memory))
    if not lines:
        return ""
    table_text = markdown_table(("case", "phase", "steps", "ms per step", "GiB on the device after it"), lines)
    return f"## Phases\n\nGemini's first step measures where to put what; the others have it there.\n\n{table_text}"


def _format_prediction(row: Row) -> str:
    if row.get("predicted_memory") is None:
        return ""
    error = row["prediction_error"]
    return (_gib(row["predicted_memory"]["total"]) or "") + ("" if error is None else f" ({error:+.0%})")


def _limits(rows: Sequence[Row]) -> str:
    table_text = markdown_table(
        ("model", "parallel setting", "precision", "batch", "limit", "predicted", "outcome", "reason"),
        [
            (
                row["model"],
                row["parallel"],
                row["precision"],
                str(row["batch"]),
                _gib(row["memory_limit"] and row["memory_limit"]["bytes"]) or "the device",
                _format_prediction(row),
                row["outcome"],
                row["reason"] or "",
            )
            for row in rows
        ],
    )
    why = "Made so: a limit that what is trained can't keep, and a batch that the device can't hold."
    return f"## Memory that runs out\n\n{why}\n\n{table_text}"


def _experiments(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    return (
        "## Experiments\n\nGemini on another torch than ColossalAI was released for. Whatever comes of these fails "
        "nothing.\n\n" + markdown_table(("case", "what happened"), [(row["name"], _word(row)) for row in rows])
    )


def _reasons(rows: Sequence[Row]) -> str:
    """Why cases have no figures, those of one reason together; experiments and limits have said so."""
    names: dict[str, list[str]] = {}
    for row in rows:
        is_listed = row["kind"] in ("limit", "too-large") or (row["experiment"] and row["outcome"] != "unsupported")
        if row["outcome"] not in ("finished", "not run") and not is_listed:
            names.setdefault(f"{row['outcome']}: {row['reason']}", []).append(row["name"])
    if not names:
        return ""
    return "## Reasons\n\n" + markdown_table(
        ("why", "cases"), [(why, "<br>".join(cases)) for why, cases in names.items()]
    )


def _gib(value: int | None) -> str | None:
    return None if value is None else f"{value / _GIB:.2f} GiB"
