"""From config/config.yaml and the catalogues to the plan of every study that is chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainyard.config.catalogue import Dataset, Model, ParallelSetting, Tokenizer
from trainyard.config.engine_options import check_setting
from trainyard.config.settings import Config
from trainyard.config.yaml_entries import choose, parse, parse_entries, suggest
from trainyard.core.errors import InputError
from trainyard.core.python_environment import find_framework, inspect_interpreter
from trainyard.estimate.families import check_model, check_name
from trainyard.plan.capabilities import Machine, find_device
from trainyard.plan.runs import REFERENCE, Catalogues
from trainyard.plan.study import StudyPlan, plan_study


@dataclass(frozen=True)
class Plan:
    """The configuration as a whole."""

    config: Config
    catalogues: Catalogues
    machine: Machine
    studies: dict[str, StudyPlan]


def make_plan(config: dict[str, Any], folder: Path, place_of: Callable[[str], str] | None = None) -> Plan:
    """Read catalogues and the chosen studies, check them, and expand every grid.

    Args:
        config: what Snakemake made of config.yaml and the command line.
        folder: the folder `config` with catalogues and studies.
        place_of: where a key of `config` was given; by default all in config.yaml.

    Raises:
        InputError: the first thing that can't be, with file, key and remedy.
    """
    place_of = place_of or (lambda key: str(folder / "config.yaml"))
    settings: Config = _settings(config, place_of)
    catalogues = read_catalogues(folder)
    device = find_device() if settings.device == "auto" else settings.device
    _check_mirror(settings.mirror, f"{place_of('mirror')}: mirror")
    interpreters = _interpreters(settings, catalogues, f"{place_of('interpreters')}: interpreters")
    machine = Machine(device, interpreters)
    for name in settings.studies:
        _check_study(name, folder / "studies", f"{place_of('studies')}: studies")
    studies = {name: plan_study(name, folder, catalogues, machine) for name in settings.studies}
    return Plan(settings, catalogues, machine, studies)


def _settings(config: dict[str, Any], place_of: Callable[[str], str]) -> Config:
    """The configuration, where each mistake names the place that its key was given at."""
    places: dict[str, dict[str, Any]] = {}
    for key, value in config.items():
        places.setdefault(place_of(str(key)), {})[key] = value
    problems = []
    for location, part in places.items():
        try:
            parse(Config, {"studies": ["any"], **part}, location)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return parse(Config, config, place_of("studies"))


def _check_study(name: str, folder: Path, location: str) -> None:
    """See that there is a file of this name; `location` is where it was named."""
    if not (folder / f"{name}.yaml").is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        raise InputError(f"{location}: no study named {name!r}{suggest(name, known)}")


def _check_mirror(mirror: str | None, location: str) -> None:
    """See that the folder is there; `location` is where it was named."""
    if mirror is None:
        return
    try:
        reason = None if Path(mirror).is_dir() else "no such folder"
    except OSError as error:  # a name that is too long, a folder that may not be entered
        reason = error.strerror
    if reason:
        raise InputError(f"{location}: {mirror}: {reason}; name a folder in the hub's layout, or set no mirror")


def _interpreters(settings: Config, catalogues: Catalogues, location: str) -> dict[str, str]:
    """The interpreter of each framework that has its own, each asked once.

    Raises:
        InputError: no parallel setting's framework is called so, or it is no Python.
    """
    frameworks = {find_framework(setting.packages) for setting in catalogues.parallel.values()} - {None}
    for name, python in settings.interpreters.items():
        choose(name, dict.fromkeys(sorted(frameworks)), "framework of a parallel setting", location)
        try:
            inspect_interpreter(str(python.expanduser()))
        except (InputError, RuntimeError) as error:  # the latter of a home that nobody has
            raise InputError(f"{location}.{name}: {error}") from None
    return {name: str(python.expanduser()) for name, python in settings.interpreters.items()}


def read_catalogues(folder: Path) -> Catalogues:
    """Read the four catalogues and check that their names fit together."""
    catalogues = Catalogues(
        parse_entries(Dataset, folder / "datasets.yaml"),
        parse_entries(Tokenizer, folder / "tokenizers.yaml"),
        parse_entries(Model, folder / "models.yaml"),
        parse_entries(ParallelSetting, folder / "parallel.yaml"),
    )
    for name, setting in catalogues.parallel.items():
        location = f"{folder / 'parallel.yaml'}: {name}"
        if name == REFERENCE:
            raise InputError(f"{location}: probes call what they are compared with so; give the entry another name")
        check_setting(setting, location)
        for family in setting.families or ():
            check_name(family, f"{location}.families")
    for name, model in catalogues.models.items():
        tokenizer = catalogues.tokenizers.get(model.tokenizer)
        location = f"{folder / 'models.yaml'}: {name}"
        check_model(model, location)
        if tokenizer is None:
            hint = suggest(model.tokenizer, catalogues.tokenizers)
            raise InputError(f"{location}.tokenizer: no tokenizer named {model.tokenizer!r}{hint}")
        if tokenizer.vocabulary > model.shape.vocabulary:
            raise InputError(
                f"{location}.shape.vocabulary: {model.shape.vocabulary} is less than the "
                f"{tokenizer.vocabulary} tokens of {model.tokenizer}"
            )
    return catalogues
