"""Options of earlier days: their names still count, on the command line and in the states of older runs."""

from __future__ import annotations

import pytest

from training.options import parse_arguments
from training.state import check_settings, settings_of


def test_a_former_name_is_taken_and_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_arguments([]).draft_probability == 0.125
    assert parse_arguments(["--draft-probability", "0.25"]).draft_probability == 0.25
    assert parse_arguments(["--draft-share", "0.5"]).draft_probability == 0.5
    with pytest.raises(SystemExit):
        parse_arguments(["--draft-share", "2"])
    assert "--draft-probability must be in [0.001, 1.0], got 2.0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    shown = capsys.readouterr().out
    assert "--draft-probability" in shown and "--draft-share" not in shown


def test_an_older_state_names_settings_as_they_were_called() -> None:
    args = parse_arguments(["--draft-probability", "0.25"])
    older = settings_of(args)
    older["draft_share"] = older.pop("draft_probability")
    check_settings(older, args)
    check_settings(None, args)
    older["draft_share"] = 0.5
    with pytest.raises(ValueError, match=r"--draft-probability must be 0\.5, as the run was started with"):
        check_settings(older, args)
