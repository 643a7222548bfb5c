"""Proposing tokens: the half-edge table with its scorer, the learned heads, and corrections of their drafts."""
