"""Covering and closing a mesh once decoding has ended and the order of faces no longer binds."""
