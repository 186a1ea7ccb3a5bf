"""`make gpu-check`: parity, memory and speed on this machine's NVIDIA GPUs, with as few packages as can be."""
