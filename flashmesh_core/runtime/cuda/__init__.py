"""The hourglass in passes of fixed shapes, which a CUDA device replays as graphs."""
