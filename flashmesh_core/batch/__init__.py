"""Many mesh files on many processes or machines, without Blender."""
