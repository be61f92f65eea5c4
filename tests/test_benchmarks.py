"""Every benchmark runs at tiny sizes; what the times are is nobody's business here."""

from __future__ import annotations

import importlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from deft.artifacts import save_mask, save_seeds, save_tensors, write_json
from deft.artifacts.review import Review
from deft.contracts import SeedMaps

FOLDER = Path(__file__).parent.parent / "benchmarks"
NAMES = sorted(file.stem for file in (FOLDER / "speed").glob("*.py") if "\ndef rows(" in file.read_text("utf-8"))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folders on the path, as when a benchmark runs as a script; their modules and threads end with the test."""
    for folder in (FOLDER, FOLDER / "speed"):
        monkeypatch.syspath_prepend(str(folder))
    before, threads = set(sys.modules), torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.mark.parametrize("name", NAMES)
def test_rows(name: str, modules: None) -> None:
    benchmark: ModuleType = importlib.import_module(name)
    line = importlib.import_module("measure").line
    found = list(benchmark.rows(torch.device("cpu"), quick=True))
    assert found
    for row in found:
        assert row.what and row.beside and row.goal is not None
        assert row.theirs is None or math.isfinite(row.theirs)
        assert row.note if row.ours is None or math.isnan(row.ours) else math.isfinite(row.ours)
        assert row.difference or row.theirs is None
        assert not re.search(r"\b(nan|inf)\b", row.difference)
        assert line(row).count(" | ") == 8


def test_a_run_replaces_its_rows_alone(tmp_path: Path, modules: None, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {
        "date": "2026-01-01",
        "commit": "0123",
        "versions": {"torch": "2"},
        "quick": False,
        "rows": [
            {"what": "old work", "beside": "slow", "theirs": 2.0, "ours": 1.0, "difference": "0", "goal": "1"},
        ],
    }
    table = {"machine": {}, "benchmarks": {"sweep": old, "walk": old}}
    (tmp_path / "speed-cpu.json").write_text(json.dumps(table))
    monkeypatch.setattr(sys, "argv", ["bench.py", "walk", "--quick", "--device", "cpu", "--out", str(tmp_path)])
    assert importlib.import_module("bench").main() == 0
    new = json.loads((tmp_path / "speed-cpu.json").read_text())
    assert new["benchmarks"]["sweep"] == old
    assert "random walk" in new["benchmarks"]["walk"]["rows"][0]["what"]
    page = (tmp_path / "speed-cpu.md").read_text()
    assert page.count("old work") == 1 and "random walk" in page and "tiny sizes" in page


def test_a_benchmark_that_fails_is_in_the_table(
    tmp_path: Path, modules: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = importlib.import_module("bench")
    monkeypatch.setattr(bench, "benchmarks", lambda: ["nothing_of_that_name"])
    monkeypatch.setattr(sys, "argv", ["bench.py", "--quick", "--device", "cpu", "--out", str(tmp_path)])
    assert bench.main() == 1
    assert "failed:" in (tmp_path / "speed-cpu.md").read_text()
    assert "no benchmark nothing_of_that_name" in capsys.readouterr().err


def test_two_runs_are_the_same_if_their_results_are(
    modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    same = importlib.import_module("same")
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    maps = SeedMaps((1,), torch.full((1, 1, 1), 0.5), (2, 2))
    for key in ("one", "other"):
        save_mask(tmp_path / key / "masks" / "a.png", mask, key)
        save_seeds(tmp_path / key / "seeds" / "a.npz", maps, key)
        save_tensors(tmp_path / key / "model.safetensors", {"w": torch.ones(2)}, {"made_by": key})
        write_json(tmp_path / key / "stage.json", {"key": key, "seconds": len(key), "state": "done"})
        (tmp_path / key / "labels.csv").write_text("image,labels")
    monkeypatch.setattr(sys, "argv", ["same.py", str(tmp_path / "one"), str(tmp_path / "other")])
    assert same.main() == 0
    assert capsys.readouterr().out.splitlines()[0] == "1 files of equal bytes, 4 of equal content, 0 different"
    mask[0, 0] = 1
    save_mask(tmp_path / "other" / "masks" / "a.png", mask, "other")
    save_tensors(tmp_path / "other" / "model.safetensors", {"w": torch.tensor([1.0, 1 + 1e-6])}, {"made_by": "other"})
    (tmp_path / "other" / "more.json").write_text("{}")
    assert same.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "1 files of equal bytes, 2 of equal content, 3 different",
        *("more.json", "masks/a.png", "model.safetensors"),
    ]


def test_threads_are_measured_in_turns(
    modules: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = importlib.import_module("threads")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "argv", ["threads.py", "--quick"])
    code = threads.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[:2] for line in lines[1:]] == [
        [f"| {situation}", str(number)] for situation in ("alone", "beside one busy process") for number in (1, 2)
    ]
    costs = [float(line.split(" | ")[4].strip(" |")) for line in (lines[1], lines[3])]
    assert code == int(max(costs) > 1.2) or max(costs) == pytest.approx(1.2)
    assert all(cost >= 1 for cost in costs)


def test_field_cases_can_be_made(modules: None) -> None:
    """They are tried by hand; here, each of them is there, with a name of its own."""
    cases = importlib.import_module("field_cases").CASES
    names = [(case.group, case.name) for case in cases]
    assert len(set(names)) == len(names) > 290
    assert all(callable(case.wrong) for case in cases)


def test_quick_asks_again_and_tells_what_was_kept(
    make_voc: Callable[..., Path], tmp_path: Path, modules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its runs: the copy with a tag less, the corrections, and the tables."""
    benchmark = importlib.import_module("quick")
    data = make_voc(tmp_path / "data", count=12, side=16)
    changed = benchmark.other_tags(data, tmp_path / "changed")
    before, after = ((folder / "image_labels.csv").read_text().split() for folder in (data, changed))
    assert len(before) - len(after) == 1  # a word
    run = tmp_path / "run"
    run.mkdir()
    benchmark.retag(run, f"voc:{changed}")
    ((retagged, tags),) = Review(run, ("cat", "cow", "dog")).retagged().items()
    assert len(tags) == 1 and f"{retagged} " in (changed / "image_labels.csv").read_text().replace(",", " ")
    benchmark.correct(run, f"voc:{changed}")
    assert len(list((run / "review" / "images").iterdir())) == 8
    write_json(
        run / "scores.json", {"train": {"seeds": {"used": {"miou": 0.5}}}, "val": {"segmentation": {"miou": 0.25}}}
    )
    write_json(run / "seeds" / "stage.json", {"key": "k", "state": "done", "seconds": 2.5})
    assert benchmark.stages(run) == {"seeds": {"key": "k", "seconds": 2.5}}
    row = {"recipe": "frozen", "what": "first answer", "stages": {"seeds": 2.5}, **benchmark.known(run)}
    record = {"command": "c", "commit": "c", "machine": "m", "versions": "v", "settings": [], "rows": [row]}
    assert "| `frozen` | first answer | – | – | – | – | 0 | 50.0 | – | – | – | 25.0 |" in benchmark.page(record)
    assert "| `frozen` | first answer | – | – | 2.5 | – |" in benchmark.page(record)


def test_scores_of_quick_answers_are_means_over_seeds(
    tmp_path: Path, modules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark = importlib.import_module("quick_scores")
    asked: list[list[str]] = []

    def run(words: list[str], **more: object) -> None:
        asked.append(words)
        folder = Path(words[words.index("--out") + 1]) / str(len(asked))
        scores = {"train": {"masks": {"used": {"miou": 0.1 * len(asked)}}}, "val": {}}
        write_json(folder / "scores.json", scores)
        write_json(folder / "run.json", {})

    monkeypatch.setattr(benchmark, "run", run)
    words = ["--data", "voc:x", "--weights", "none", "--backbones", "one", "--seeds", "0", "4"]
    given = benchmark.arguments([*words, "--out", str(tmp_path), "--publish", str(tmp_path / "page")])
    monkeypatch.setattr(benchmark, "arguments", lambda: given)
    benchmark.main()
    assert [line[-3:] for line in asked] == [
        [recipe, "--set", seed] for recipe in ("--no-deft", "--deft") for seed in ("seed=0", "seed=4")
    ]
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| frozen, one | 2 | – | – | 15.0 ± 7.1 | – | – |" in text
    assert "| frozen_deft, one | 2 | – | – | 35.0 ± 7.1 | – | – |" in text
