"""A process of a launch that prints which device it is to use."""

import os

if __name__ == "__main__":
    print(*(os.environ[name] for name in ("RANK", "LOCAL_RANK", "CUDA_VISIBLE_DEVICES")))
