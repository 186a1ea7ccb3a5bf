"""A process of a launch that prints what it makes of TF32: of its own accord, and where a study asks for it."""

import os

import torch

from trainyard.hardware.tf32 import VARIABLES, set_tf32
from trainyard.parallel import process_group

if __name__ == "__main__":
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # as a library may
    process_group.start("cpu")
    flags = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    set_tf32(allowed=True)
    asked = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    variables = [name for name in VARIABLES if name in os.environ]
    print("before:", before, "flags:", flags, "variables:", variables, "asked:", asked)
