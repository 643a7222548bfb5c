"""The unfinished mesh, compiled: half-edges, slice rows, masks and coverage guidance, with roll-back."""
