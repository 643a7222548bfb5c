"""The unfinished mesh during decoding, compiled: half-edges, slice rows, grammar masks and guidance, with roll-back."""
