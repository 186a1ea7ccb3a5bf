"""fp32 is fp32: TF32, which keeps 10 of its 23 bits, is off whatever torch's defaults or the environment say."""

import os

VARIABLES = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
"""They turn it on over a program's head; images of NVIDIA's set the second."""


def turn_off_tf32() -> None:
    """Let this process compute products of fp32 in fp32; before its first one on a GPU, when cuBLAS reads a variable.

    By the older names of torch's settings, which versions before 2.9 know too, and which the newer ones must not be
    mixed with.
    """
    import torch  # noqa: PLC0415 (the launcher, which takes the variables away, does without)

    for name in VARIABLES:
        os.environ.pop(name, None)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
