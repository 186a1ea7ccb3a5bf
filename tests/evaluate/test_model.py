import os
import subprocess
import sys
from pathlib import Path

from trainyard.hardware.tf32 import VARIABLES

ROOT = Path(__file__).parents[2]
LOAD = """
import os, sys
from pathlib import Path
import torch
print(torch.backends.cuda.matmul.allow_tf32)
from trainyard.evaluate.model import Placement, load_causal
load_causal(Path(sys.argv[1]), Placement())
print(torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
print([name for name in sys.argv[2:] if name in os.environ])
"""


def test_a_process_that_evaluates_computes_fp32_in_fp32_whatever_the_environment_says(causal_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOAD, causal_folder, *VARIABLES],
        env=os.environ | dict.fromkeys(VARIABLES, "1") | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["True", "False False", "[]"]
