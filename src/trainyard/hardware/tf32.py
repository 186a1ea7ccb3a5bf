"""TF32, which keeps 10 of the 23 bits of fp32, is off unless a study asks for it.

Neither torch's defaults nor the environment turn it on.
"""

import os

VARIABLES = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
"""They turn it on over a program's head; images of NVIDIA's set the second."""


def set_tf32(allowed: bool) -> None:
    """Let this process compute products of fp32 in TF32, or in fp32; before its first one on a GPU.

    That is when cuBLAS reads a variable. By the older names of torch's settings, which versions before 2.9 know too,
    and which the newer ones must not be mixed with.
    """
    import torch  # noqa: PLC0415 (the launcher, which takes the variables away, does without)

    for name in VARIABLES:
        os.environ.pop(name, None)
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
