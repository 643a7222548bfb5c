"""Ways to run the model behind one Decoder: torch (the reference), the CPU's kernels, CUDA graphs."""
