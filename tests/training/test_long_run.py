"""The long run begins once, then resumes; what makes readings ends with it, and all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.long_run import LAST, TRAINS, _yield, commands, main
from training.options import parse_arguments


def test_it_begins_from_weights_and_then_goes_on(tmp_path: Path) -> None:
    train, make = commands(tmp_path, tmp_path / "data", "nano")
    assert train[-2:] == ["--weights", "nano"] and "--resume" not in train
    assert parse_arguments(train[2:]).draft_every == 0 and make[2] == "training.readings"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.previous.pt").write_bytes(b"")
    again, _ = commands(tmp_path, tmp_path / "data", "nano")
    assert again[-1] == "--resume" and "--weights" not in again


def test_a_folder_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["long_run"])
    monkeypatch.delenv("FLASHMESH_RUN", raising=False)
    with pytest.raises(SystemExit):
        main()
    assert "--state must be given, or $FLASHMESH_RUN be set" in capsys.readouterr().err


def test_both_yield_by_the_niceness_of_their_groups(tmp_path: Path) -> None:
    """Where processes are scheduled by sessions, a process's own niceness says nothing to other sessions."""
    (tmp_path / "autogroup").write_text("/autogroup-7 nice 0")
    _yield(TRAINS, tmp_path / "autogroup")
    assert (tmp_path / "autogroup").read_text() == str(TRAINS)
    _yield(LAST, tmp_path / "none")  # elsewhere there are no such groups
    assert not (tmp_path / "none").exists()
    assert 0 < TRAINS < LAST


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_whatever_a_process_started_ends_with_it() -> None:
    from training.long_run import _end

    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    _end([parent])
    assert parent.returncode == -signal.SIGTERM
    for _ in range(1000):  # until it is gone or waits to be collected
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return
        time.sleep(0.01)
    raise AssertionError("the process that it started still runs")
