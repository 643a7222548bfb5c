"""The error of input that a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """A message that names field, range and value; `field` is the option or array that it is about, if known."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message, self.field = message, field
