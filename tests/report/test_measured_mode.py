"""What of a training tells measured cells apart, in words."""

from trainyard.report.results.measurements import mode


def test_adapters_are_told_by_rank_and_targets() -> None:
    told = [
        mode(compiled=False, tf32=False, frozen=[], lora=lora)
        for lora in (None, {"rank": 8, "targets": None}, {"rank": 4, "targets": ["q", "v"]})
    ]
    assert told == ["eager", "eager, LoRA of rank 8: usual targets", "eager, LoRA of rank 4: q, v"]
