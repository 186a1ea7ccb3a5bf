"""What DeepSpeed is told: its configuration, made of the options of config/parallel.yaml."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.config.engine_options import DeepSpeed, parse_options

if TYPE_CHECKING:
    from trainyard.parallel.engine import EngineSettings

# DeepSpeed's own, but never more than the model has (of what persists, a hundredth of it): that many are allocated
_BUCKET = 500_000_000
# 25 MB in fp32, DDP's buckets, or the largest parameter: on a GPU a bucket travels while the next fills
_GPU_BUCKET = 25 * 2**20 // 4
_PREFETCH = 50_000_000
_PERSISTENT = 100_000
# a tenth of DeepSpeed's: each in memory takes 16 bytes
_SWAPPED_AT_ONCE = 100_000_000
_OPTIMIZER_BUFFERS, _PARAMETER_BUFFERS = 4, 5


@dataclass(frozen=True)
class Size:
    """What DeepSpeed's buffers are cut for.

    Attributes:
        parameters: of the model that are trained.
        largest: elements of its largest parameter.
        processes: over which each is split.
    """

    parameters: int
    largest: int
    processes: int

    @property
    def largest_part(self) -> int:
        """Elements that a process holds of the largest parameter."""
        return -(-self.largest // self.processes)


def make_config(settings: "EngineSettings", size: Size) -> dict[str, Any]:
    """DeepSpeed's configuration for these settings.

    Clipping is always stated: left out, DeepSpeed 0.19 clips at 1.0; 0 does not clip.

    Below fp32, level 0 is torch's autocast over fp32 weights, since DeepSpeed's own would sum gradients
    in bf16 and, in fp16, not scale the loss. Levels 1 to 3 hold the weights in bf16 or fp16 and the masters
    in fp32, and gradients are accumulated and summed over the processes in fp32 too.

    Args:
        settings: of the engine.
        size: of the model and the group.

    Raises:
        InputError: an option is unknown or does not fit.
    """
    options, precision = parse_options("deepspeed", settings.parallel.options), settings.precision
    results: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": settings.micro_batch,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": settings.train.max_grad_norm or 0.0,
        "steps_per_print": None,
        "zero_optimization": _zero(options, settings, size),
        # torch's fused AdamW, which needs no compiler, steps what lies on the CPU too
        "zero_force_ds_cpu_optimizer": False,
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
    }
    if options.level == 0:
        results["torch_autocast"] = {
            "enabled": precision != "fp32",
            "dtype": "fp16" if precision == "fp16" else "bf16",
            "lower_precision_safe_modules": [],
        }
        return results
    return results | {
        "bf16": {"enabled": precision == "bf16", "immediate_grad_update": True},
        # the loss scale as torch has it: halved by each overflow, doubled by 2,000 steps without one
        "fp16": {
            "enabled": precision == "fp16",
            "initial_scale_power": round(math.log2(settings.train.initial_loss_scale)),
            "hysteresis": 1,
            "loss_scale_window": 2000,
        },
    }


def _zero(options: DeepSpeed, settings: "EngineSettings", size: Size) -> dict[str, Any]:
    """The part `zero_optimization`."""
    pinned = settings.device == "cuda"
    folder = None if settings.scratch is None else str(settings.scratch)
    results: dict[str, Any] = {
        "stage": options.level,
        "reduce_bucket_size": options.reduce_bucket or _reduce_bucket(settings.device, size),
        "allgather_bucket_size": options.allgather_bucket or min(_BUCKET, size.parameters),
    }
    if options.level == 2 and settings.device == "cuda":  # by default level 3 alone; level 1 sums after the backward
        results["overlap_comm"] = True
    if options.offload_optimizer:
        results["offload_optimizer"] = {
            "device": options.offload_optimizer,
            "nvme_path": folder,
            "pin_memory": pinned,
            "buffer_count": _OPTIMIZER_BUFFERS,
        }
    if options.offload_parameters:
        results["offload_param"] = {
            "device": options.offload_parameters,
            "nvme_path": folder,
            "pin_memory": pinned,
            "buffer_count": _PARAMETER_BUFFERS,
            "buffer_size": size.largest_part,
            "max_in_cpu": 0,
        }
    if options.level == 3:
        results["stage3_prefetch_bucket_size"] = _fall_back(options.prefetch_bucket, min(_PREFETCH, size.parameters))
        results["stage3_param_persistence_threshold"] = _fall_back(
            options.persistence_threshold, min(_PERSISTENT, size.parameters // 100)
        )
        if _sub_group(options):
            results["sub_group_size"] = _sub_group(options)
    return results


def _reduce_bucket(device: str, size: Size) -> int:
    bucket = max(_GPU_BUCKET, size.largest) if device == "cuda" else _BUCKET
    return min(bucket, size.parameters)


def count_locked_bytes(settings: "EngineSettings", size: Size) -> int:
    """How much memory the buffers lock that files are read into and written from."""
    options = parse_options("deepspeed", settings.parallel.options)
    part = min(-(-size.parameters // size.processes), (_sub_group(options) or size.parameters) + size.largest_part)
    locked = 0
    if options.offload_optimizer == "nvme":
        locked += 4 * _OPTIMIZER_BUFFERS * part
    if options.offload_parameters == "nvme":
        width = 4 if settings.precision == "fp32" else 2
        locked += width * (_PARAMETER_BUFFERS * size.largest_part + size.processes * part)
    return locked


def _sub_group(options: DeepSpeed) -> int | None:
    return options.sub_group or (_SWAPPED_AT_ONCE if options.swaps else None)


def _fall_back(given: int | None, default: int) -> int:
    return default if given is None else given
