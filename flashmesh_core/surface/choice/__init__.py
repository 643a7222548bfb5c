"""A learned choice of a proxy's vertices: which of the candidates an artist would have, and where exactly."""
