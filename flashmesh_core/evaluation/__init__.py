"""Evaluation on real sources made from unseen artist meshes (docs/definitions.md, "Report of evaluate")."""
