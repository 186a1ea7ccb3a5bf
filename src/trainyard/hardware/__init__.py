"""What a machine has: GPUs, their peaks, the processor, the memory in use."""
