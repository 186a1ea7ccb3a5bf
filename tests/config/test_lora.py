"""The settings of adapters among those of a training."""

from typing import Any

from trainyard.config.train import Train

USUAL: dict[str, Any] = {"steps": 1, "batch": 1, "learning_rate": 1e-3}


def test_a_run_without_adapters_has_the_specification_that_it_had_before_there_were_any() -> None:
    assert "lora" not in Train.model_validate(USUAL).model_dump(mode="json")
    assert "lora" not in Train.model_validate(USUAL | {"lora": None}).model_dump(mode="json")


def test_settings_with_adapters_are_read_as_they_are_written() -> None:
    train = Train.model_validate(USUAL | {"lora": {"rank": 4, "targets": ["q", "v"]}})
    written = train.model_dump(mode="json")
    assert written["lora"] == {"rank": 4, "alpha": 16.0, "targets": ["q", "v"], "dropout": 0.0}
    assert Train.model_validate(written) == train
