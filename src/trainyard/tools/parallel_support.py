"""What each parallel setting trains, from probes that were run: `python -m trainyard.tools.parallel_support --help`."""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from trainyard.config.catalogue import ParallelSetting, Precision
from trainyard.config.yaml_entries import parse_entries
from trainyard.core.errors import InputError
from trainyard.core.files import read_json, write_text
from trainyard.core.text import markdown_table
from trainyard.estimate import families
from trainyard.estimate.families import load_family
from trainyard.plan.capabilities import never_of_family
from trainyard.report.pages.parity import tolerance_notes
from trainyard.report.render.format import NONE, join_words, scientific
from trainyard.report.results.probes import list_comparisons

PRECISIONS = get_args(Precision)
FAMILIES = sorted(families.FAMILIES, key=lambda name: (load_family(name).is_encoder_decoder, name))
Key = tuple[str, str, str]  # parallel setting, precision, model


@dataclass(frozen=True)
class Probe:
    """One probe: its parity.json, the family of its model, and its provenance.json."""

    parity: dict[str, Any]
    family: str
    provenance: dict[str, Any]

    @property
    def key(self) -> Key:
        """What it is a probe of."""
        return self.parity["parallel"], self.parity["precision"], self.parity["model"]

    @property
    def nearness(self) -> float:
        """Its largest difference as a part of what is allowed; less than nothing if it was not compared."""
        return -1.0 if self.parity["within"] is None else self.parity["largest"] / self.parity["tolerance"]

    @property
    def is_outside(self) -> bool:
        """Whether it is outside its tolerance of the reference in fp32, or of that in its own precision."""
        return False in (self.parity["within"], (self.parity["same_precision"] or {}).get("within"))


def read(folders: Iterable[Path]) -> dict[Key, Probe]:
    """The probes in these folders; of several of the same the one that is nearest to its tolerance.

    Raises:
        InputError: there is none, or one has no spec.json or provenance.json.
    """
    results: dict[Key, Probe] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("parity.json"))):
        specification = read_json(path.parent / "spec.json")
        provenance = read_json(path.parent / "provenance.json")
        probe = Probe(read_json(path), specification["model"]["family"], provenance)
        if probe.key not in results or probe.nearness > results[probe.key].nearness:
            results[probe.key] = probe
    if not results:
        raise InputError(f"{', '.join(map(str, folders))}: no probe's parity.json is there; run the study first")
    return results


def page(settings: Mapping[str, ParallelSetting], probes: Mapping[Key, Probe], command: str) -> str:
    """The page in Markdown: what ran on which family, what didn't and why, every difference, and how it was made.

    Args:
        settings: config/parallel.yaml.
        probes: from `read`.
        command: what makes the page again.
    """
    # what the catalogue no longer says of a setting isn't what it does: its results are those of another one
    probes = {key: probe for key, probe in probes.items() if key[0] in settings and _fits(probe, settings[key[0]])}
    by_setting = {name: [probe for probe in probes.values() if probe.key[0] == name] for name in settings}
    comparisons = [row for probe in probes.values() for row in list_comparisons(probe.parity)]
    support = markdown_table(
        ["parallel setting", "framework", "precision", "trains (largest difference)", "does not spread", "needs"],
        [_support_row(name, setting, by_setting[name]) for name, setting in settings.items()],
    )
    parts = [
        "# Parallel settings",
        "Each was probed: a short run against one process in fp32 that accumulates the same micro-batches in rank "
        "order, without dropout ([parity](../explanation/parity.md)). A family counts as trained where such a run came "
        "to its end; beside it is the largest difference of the loss over the compared steps, in fp32 if it ran "
        "in that. 0: equal bit by bit. **Bold**: outside its tolerance.",
        support,
        "## What did not run here",
        "\n".join(_reasons(settings, by_setting)) or "Everything ran.",
        "## Difference from the reference",
        "Largest / mean difference of the loss, in nats per token, over the compared steps.",
        *(part for precision in PRECISIONS for part in _differences(precision, settings, probes)),
        "\n".join(f"- {note}" for note in tolerance_notes(comparisons)),
        "## How this page was made",
        *_origin(probes.values(), command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _support_row(name: str, setting: ParallelSetting, probes: Sequence[Probe]) -> list[str]:
    trained = []
    for family in FAMILIES:
        compared = [probe for probe in probes if probe.family == family and probe.parity["within"] is not None]
        if compared:
            first = min((probe.key[1] for probe in compared), key=PRECISIONS.index)
            worst = max((probe for probe in compared if probe.key[1] == first), key=lambda probe: probe.nearness)
            trained.append(f"{family} {_difference(worst, 'largest')}" + ("" if first == "fp32" else f" in {first}"))
    left = [family for family in FAMILIES if never_of_family(setting, family)]
    precisions = [each + (" (GPU)" if each in setting.gpu_precision else "") for each in setting.precision]
    return [
        f"`{name}`: {setting.title}",
        _framework(setting, probes),
        ", ".join(precisions),
        ", ".join(trained) or NONE,
        ", ".join(left) or NONE,
        ", ".join(_needs(setting)) or NONE,
    ]


def _framework(setting: ParallelSetting, probes: Sequence[Probe]) -> str:
    """Its packages with the versions that it ran with."""
    names = ["torch", *(re.split(r"[<>=!~ ]", package)[0] for package in setting.packages)]
    names = [name for name in dict.fromkeys(names) if name != "transformers"]
    ran = [probe.provenance["versions"] for probe in probes if probe.parity["outcome"] == "finished"]
    versions = {name: sorted({each[name] for each in ran if each.get(name)}) for name in names}
    return ", ".join(f"{name} {' and '.join(versions[name])}".strip() for name in reversed(names))


def _needs(setting: ParallelSetting) -> list[str]:
    copy = setting.tensor * setting.pipeline
    needs = ["an NVIDIA GPU"] if setting.gpu else []
    needs += [f"`{package}`" for package in setting.packages]
    needs += ["a C++ compiler"] if setting.compiler else []
    needs += list(setting.libraries)
    needs += ["one process"] if setting.one_process else []
    needs += [f"a multiple of {copy} processes"] if copy > 1 else []
    return needs


def _fits(probe: Probe, setting: ParallelSetting) -> bool:
    """Whether the setting is for that family and precision."""
    return never_of_family(setting, probe.family) is None and probe.key[1] in setting.precision


def _reasons(settings: Mapping[str, ParallelSetting], by_setting: Mapping[str, Sequence[Probe]]) -> list[str]:
    """A line for each setting and reason: what had no result, and in which precisions and models."""
    lines = []
    for name, probes in by_setting.items():
        spread = [family for family in FAMILIES if never_of_family(settings[name], family) is None]
        if len(spread) < len(FAMILIES):
            lines.append(f"- `{name}`: is for {join_words(spread)} models only.")
        if not probes:
            lines.append(f"- `{name}`: was not probed.")
        left: dict[str, list[Probe]] = {}
        for probe in probes:
            if probe.parity["within"] is None:
                left.setdefault(f"{probe.parity['outcome']}: {_plain(probe.parity['reason'] or '')}", []).append(probe)
        for reason, group in left.items():
            precisions = sorted({probe.key[1] for probe in group}, key=PRECISIONS.index)
            models = sorted({probe.key[2] for probe in group})
            lines.append(f"- `{name}` ({join_words(precisions)}; {join_words(models)}): {reason}.")
    return lines


def _differences(
    precision: str, settings: Mapping[str, ParallelSetting], probes: Mapping[Key, Probe]
) -> tuple[str, ...]:
    compared = {key: probe for key, probe in probes.items() if key[1] == precision and probe.nearness >= 0}
    families = {key[2]: probe.family for key, probe in compared.items()}
    models = sorted(families, key=lambda model: (FAMILIES.index(families[model]), model))
    rows = []
    for name in settings:
        own = {key[2]: probe for key, probe in compared.items() if key[0] == name}
        if own:
            parity = next(iter(own.values())).parity
            texts = [
                f"{_difference(own[model], 'largest')} / {_difference(own[model], 'mean')}" if model in own else NONE
                for model in models
            ]
            rows.append([f"`{name}`", *texts, scientific(parity["tolerance"]), str(parity["compared_steps"])])
    if not rows:
        return ()
    return f"### {precision}", markdown_table(["parallel setting", *models, "tolerance", "compared steps"], rows)


def _difference(probe: Probe, key: str) -> str:
    text = scientific(probe.parity[key])
    return f"**{text}**" if probe.is_outside else text


def _origin(probes: Iterable[Probe], command: str) -> list[str]:
    probes = list(probes)
    studies = sorted({probe.parity["study"] for probe in probes})
    days = sorted({probe.provenance["ended"][:10] for probe in probes})
    commits = sorted({(probe.provenance["commit"] or "none")[:12] for probe in probes})
    steps = [str(each) for each in sorted({probe.parity["steps"] for probe in probes if probe.nearness >= 0})]
    machines = sorted({f"{at['gpu'] or at['cpu']}, {at['cores']} cores" for at in (p.provenance for p in probes)})
    processes = [str(each) for each in sorted({probe.parity["processes"] for probe in probes})]
    versions = sorted(
        {", ".join(f"{name} {each}" for name, each in p.provenance["versions"].items() if each) for p in probes}
    )
    dates = " to ".join(dict.fromkeys([days[0], days[-1]]))
    ran = f"{join_words(processes)} processes, {join_words(steps)} steps"
    ran += f"; run on {dates} from commit {join_words(commits)}"
    lines = [f"- Studies: {join_words(studies)}; {ran}."]
    lines += [f"- Machine: {_plain(machine)}." for machine in machines]
    lines += [f"- Versions: {each}." for each in versions]
    return [f"```\n{command}\n```", "\n".join(lines)]


def _plain(text: str) -> str:
    """Text from elsewhere on one line, without a tag or a full stop."""
    return " ".join(text.split()).replace("<", "&lt;").rstrip(".")


def main(arguments: Sequence[str]) -> int:
    """Write the page; 1 if something is missing."""
    parser = argparse.ArgumentParser(prog="python -m trainyard.tools.parallel_support", description=main.__doc__)
    parser.add_argument(
        "results", nargs="+", type=Path, help="folders of studies, or of committed results, with probes"
    )
    parser.add_argument("--catalogue", type=Path, default=Path("config/parallel.yaml"), help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="the page to write")
    given = parser.parse_args(arguments)
    named = " ".join(map(str, given.results))
    command = f"PYTHONPATH=src .venv/bin/python -m trainyard.tools.parallel_support {named} --output {given.output}"
    try:
        settings = parse_entries(ParallelSetting, given.catalogue)
        write_text(given.output, page(settings, read(given.results), command))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
