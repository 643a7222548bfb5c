"""Geometry without torch: canonical form, sampling, topology, files, metrics."""
