"""``deft review``: the command from its start to its end, and every way in which it cannot begin."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deft.cli.main import main
from deft.review import serve


def begun(run: Path, *more: str) -> tuple[subprocess.Popen[str], int, str]:
    """The command as a process of its own, its port, and its token."""
    command = [sys.executable, "-m", "deft", "review", str(run), "--no-browser", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.fullmatch(r"review: http://127\.0\.0\.1:(\d+)/\?token=(\S+)\n", process.stdout.readline())
    assert found is not None
    return process, int(found[1]), found[2]


def ask(port: int, token: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    headers = {"X-Deft-Token": token, "Origin": f"http://127.0.0.1:{port}"}
    connection.request("GET" if body is None else "POST", path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_the_command_serves_until_ctrl_c_and_steps_survive_a_kill(run: Path) -> None:
    process, port, token = begun(run)
    try:
        assert ask(port, "another", "/api/run")[0] == 403
        status, content = ask(port, token, "/api/image/0/state", {"revision": 0, "state": "accepted"})
        assert (status, json.loads(content)["revision"]) == (200, 1)
    finally:
        process.kill()
        process.communicate()
    process, port, token = begun(run)
    try:
        assert json.loads(ask(port, token, "/api/image/0")[1])["state"] == "accepted"
        assert json.loads(ask(port, token, "/api/image/0/undo", {"revision": 1})[1])["state"] == "unreviewed"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "deft review" in told


def test_the_first_free_port_is_taken_and_the_page_is_of_this_machine_alone() -> None:
    with serve.listening(0) as taken:
        assert taken.getsockname()[0] == "127.0.0.1"
    first = serve.listening(None)
    second = serve.listening(None)
    with first, second:
        assert serve.PORT <= first.getsockname()[1] < second.getsockname()[1] < serve.PORT + 20


def refused(*words: str) -> int:
    return main(["review", *words, "--no-browser"])


def test_a_busy_port_is_told(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert refused(str(made), "--port", str(port)) == 2
    assert capsys.readouterr().err == f"deft: --port {port}: is taken; name another, or leave the option out\n"


@pytest.mark.parametrize("port", ["0", "80", "65536", "x", "-1", "٨٧٦٥", "9" * 99])
def test_no_port_is_told(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        refused("run", f"--port={port}")
    assert "expected a whole number from 1024 to 65535" in capsys.readouterr().err


def test_what_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("[]")
    for name in ("gone", "file", "empty", "other"):
        assert refused(str(tmp_path / name)) == 2
        told = capsys.readouterr().err
        assert told.startswith("deft: ")
        assert name in told
        assert told.count("\n") == 1


@pytest.mark.parametrize("stage", ["masks", "both"])
def test_an_unfinished_run_is_told(stage: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("masks", "predictions") if stage == "both" else ("masks",):
        record = json.loads((run / name / "stage.json").read_text())
        (run / name / "stage.json").write_text(json.dumps(record | {"state": "begun"}))
    if stage == "masks":
        shutil.rmtree(run / "predictions")
    assert refused(str(run)) == 2
    assert "expected a run with masks, found none; finish it with deft run" in capsys.readouterr().err
    assert not (run / "review").exists()


def test_photographs_that_have_moved_away_are_told(
    own_voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from review_runs import write_run

    run = write_run(tmp_path / "run", f"voc:{own_voc}")
    own_voc.rename(tmp_path / "elsewhere")
    assert refused(str(run)) == 2
    told = capsys.readouterr().err
    assert str(own_voc) in told
    assert "--data" in told
    assert serve.opened(run, f"voc:{tmp_path / 'elsewhere'}").gallery.size(0) == (16, 16)


@pytest.mark.parametrize("missing", ["starlette.applications", "uvicorn", "xstatic.pkg.leaflet"])
def test_a_missing_extra_is_named(
    missing: str, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert refused(str(made)) == 2
    assert "pip install 'deft-wsss[review]'" in capsys.readouterr().err


def test_a_damaged_review_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "review").mkdir()
    (run / "review" / "review.json").write_text('{"version": 9}')
    assert refused(str(run)) == 2
    assert "expected version 2 of a review, got '9'" in capsys.readouterr().err
    assert os.listdir(run / "review") == ["review.json"]
