"""The hourglass in kernels that numba compiles for this CPU."""
