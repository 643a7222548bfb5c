# SPDX-License-Identifier: GPL-3.0-or-later
"""What the artist reads, in Blender's language: English text to that of the dictionaries beside this file."""

from __future__ import annotations

from typing import Any

import bpy

from .german import GERMAN

LANGUAGES = {"de_DE": GERMAN, "de": GERMAN}  # by Blender's names of languages, which differ between its versions
CONTEXTS = ("*", "Operator")  # Blender looks up the names of operators in one of their own


def tr(text: str, **values: Any) -> str:
    """`text` in the language of Blender's interface, with `values` put in for the names in its braces."""
    found = bpy.app.translations.pgettext_iface(text)
    return found.format(**values) if values else found


def register() -> None:
    """Gives Blender the dictionaries."""
    made = {
        language: {(context, text): found for text, found in words.items() for context in CONTEXTS}
        for language, words in LANGUAGES.items()
    }
    bpy.app.translations.register(__package__, made)


def unregister() -> None:
    """Takes them back."""
    bpy.app.translations.unregister(__package__)
