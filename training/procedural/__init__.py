"""Procedural low-poly shapes: primitives, and the objects composed from them."""
