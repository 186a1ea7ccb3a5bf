"""Models in transformers' format, with their card, from a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from trainyard.config.catalogue import Model
from trainyard.core.code_versions import CodeVersion
from trainyard.core.python_environment import TRAINING, package_versions
from trainyard.core.repository import describe_repository
from trainyard.data.shards import read_index
from trainyard.models.export import export, reads_window
from trainyard.models.lora import Adapters
from trainyard.models.model_card import render_model_card
from trainyard.parallel.engine import Engine


class Exporter:
    """Writes the model, as it is at that moment, under a name."""

    def __init__(
        self,
        specification: dict[str, Any],
        entry: Model,
        models: Path,
        engine: Engine,
        versions: Sequence[CodeVersion] = (),
        frozen: Mapping[str, Tensor] | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        """Prepare exports.

        Args:
            specification: the content of spec.json.
            entry: its model.
            models: the folder of models.
            engine: contains the weights.
            versions: of the code that train it.
            frozen: weights that are not trained, by name, which engines may hold rounded.
            adapters: of the model, which are merged into its weights and kept beside them.
        """
        self._specification = specification
        self._entry = entry
        self._models = models
        self._engine = engine
        self._versions = versions
        self._frozen = frozen or {}
        self._adapters = adapters
        tokenizer = specification["data"]["tokenizer"]
        self._tokenizer = Path(tokenizer) if tokenizer else None

    def __call__(self, name: str, step: int, loss: float | None) -> None:
        """Write `models/{name}`, given the step and its validation loss; a collective."""
        state = self._engine.full_state()
        if state is not None:
            state |= self._frozen
            record = {name: self._specification[name] for name in ("study", "run")}
            record |= {"step": step, "validation_loss": loss}
            card, folder, adapter = self._card(step, loss), self._models / name, None
            if self._adapters is not None:
                adapter = self._adapters.export(state)
                state = self._adapters.merge(state)
            window = (self._specification["train"].get("attention") or {}).get("window")
            export(self._entry, state, folder, self._tokenizer, card, record, adapter, window)

    def _card(self, step: int, loss: float | None) -> str:
        results = {} if loss is None else {"validation loss, nats per token": loss}
        environment = describe_repository() | {"versions": package_versions(TRAINING)}
        dataset = read_index(Path(self._specification["data"]["train"]))
        is_read = reads_window(self._entry.family)
        return render_model_card(self._specification, step, results, environment, dataset, self._versions, is_read)
