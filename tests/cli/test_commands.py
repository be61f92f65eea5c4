"""What each verb hands on, what it prints, and the code it ends with; the long work behind the verbs is left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.artifacts import write_json
from deft.cli.main import main
from deft.data.importers.pascal_context import ImportedContexts
from deft.data.raster import Channels
from deft.deploy.folder import Exported
from deft.engine.share import HERE
from deft.predict.shards import Streamed
from deft.predict.video import Moving
from deft.recipes import RECIPES, cam, irn_deft, published
from deft.segment.tiles import Tiles
from deft.settings import assign, fields_of
from deft.studies.outcome import Outcome
from deft.studies.runner import StudyRunner
from deft.thresholds import Tuned

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """``call(*words)``: exit code, standard output and standard error of a command."""

    def command(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


class Told:
    """Stands in for the work behind a verb and keeps what it is given."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.given: list[tuple[Any, ...]] = []

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.given.append((*given, *named.values()))
        return self.result


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Told]:
    """``instead("deft.module.function", result)``: that function only returns the result."""

    def put(name: str, result: Any) -> Told:
        told = Told(result)
        monkeypatch.setattr(name, told)
        return told

    return put


Instead = Callable[[str, Any], Told]


def test_run_hands_on_recipe_data_folders_and_name(call: Call, instead: Instead) -> None:
    run = instead("deft.runner.run.run", Path("runs/x/report.html"))
    words = ("--data", "demo:", "--out", "runs/x", "--reuse", "runs/y", "--reuse", "runs/z")
    assert call("run", "cam", *words) == (0, "report: runs/x/report.html\n", "")
    assert run.given == [(cam(), "demo:", Path("runs/x"), [Path("runs/y"), Path("runs/z")], "cam", HERE, None)]
    assert call("run", "cam", *words, "--corrected", "runs/w")[0] == 0
    assert run.given[1][-1] == Path("runs/w")


def test_flags_are_short_for_settings_and_go_last(call: Call, instead: Instead) -> None:
    run = instead("deft.runner.run.run", Path("report.html"))
    flags = ("--backbone", "resnet18", "--weights", "none", "--precision", "bf16", "--seed", "3")
    sets = ("--set", "seed=1", "--set", "segment=none", "--set", "classifier.plan.epochs=2")
    assert call("run", "irn_deft", "--data", "demo:", "--out", "x", *sets, *flags)[0] == 0
    changes = ["seed=3", "segment=none", "classifier.plan.epochs=2", "backbone=resnet18", "weights=none"]
    assert run.given[0][0] == assign(irn_deft(), [*changes, "precision=bf16-mixed"])


def test_published_thresholds_come_before_what_is_set(call: Call, instead: Instead) -> None:
    run = instead("deft.runner.run.run", Path("report.html"))
    words = ("--data", "demo:", "--out", "x", "--thresholds", "paper", "--set", "refine.background=0.4")
    assert call("run", "irn_deft", *words)[0] == 0
    assert run.given[0][0] == assign(published(irn_deft()), ["refine.background=0.4"])


def test_show_prints_every_field_and_begins_nothing(call: Call, instead: Instead, tmp_path: Path) -> None:
    run = instead("deft.runner.run.run", None)
    code, out, _ = call("run", "cam", "--data", "demo:", "--out", tmp_path / "x", "--show", "--seed", "7")
    assert code == 0
    fields = fields_of(assign(cam(), ["seed=7"]))
    assert out.splitlines() == [f"{name} = {value!r}" for name, value in fields.items()]
    assert "seed = 7" in out.splitlines()
    assert run.given == [] and not (tmp_path / "x").exists()


def test_a_field_that_there_is_not_ends_with_2(call: Call, instead: Instead) -> None:
    run = instead("deft.runner.run.run", None)
    code, out, err = call("run", "cam", "--data", "demo:", "--out", "x", "--set", "sead=3")
    assert (code, out) == (2, "") and err.startswith("deft: ") and "did you mean 'seed'" in err
    assert run.given == []


@pytest.mark.parametrize("devices", ["0", "-1"])
def test_no_device_is_told(devices: str, call: Call) -> None:
    told = f"deft: expected --devices and --num-nodes of at least 1, got {devices} and 1\n"
    assert call("run", "cam", "--data", "demo:", "--out", "x", "--devices", devices) == (2, "", told)


@pytest.mark.parametrize("words", [(), ("runs/x",), ("runs/x", "--data", "demo:"), ("--help",)])
def test_join_names_what_replaces_it(words: tuple[str, ...], call: Call) -> None:
    code, out, err = call("join", *words)
    assert (code, out) == (2, "")
    assert err.startswith("deft: ") and err.count("\n") == 1 and "--engine ray --ray-address auto" in err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "cam", "--data", "demo:", "--out", "x"),
        ("predict", "runs/x", "photos", "--out", "x"),
        ("seeds", "runs/x", "shards:a.tar", "--out", "x"),
    ],
)
def test_an_address_belongs_to_ray(words: tuple[str, ...], call: Call) -> None:
    told = "deft: --ray-address head:6379: expected --engine ray with it; add that\n"
    assert call(*words, "--ray-address", "head:6379") == (2, "", told)
    assert call(*words, "--engine", "here", "--ray-address", "head:6379") == (2, "", told)


def test_a_cluster_is_given_the_command_for_several_processes(
    call: Call, instead: Instead, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray", "ray.data", "ray.exceptions", "ray.util", "ray.util.scheduling_strategies"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    start = instead("deft.engine.ray_train.start", 7)
    words = ("run", "cam", "--data", "demo:", "--out", "x", "--devices", "4", "--ray-address", "head:6379")
    assert call(*words) == (2, "", "deft: --ray-address head:6379: expected --engine ray with it; add that\n")
    code, _, err = call(*words, "--engine", "ray", "--num-nodes", "2")
    assert code == 2 and "--num-nodes 2: expected none with --ray-address" in err and not start.given
    assert call(*words, "--engine", "ray")[0] == 7
    command, processes, cluster = start.given[0]
    assert (processes, cluster.address) == (4, "head:6379")
    run = instead("deft.runner.run.run", Path("report.html"))
    monkeypatch.setattr("deft.engine.launch.launched", lambda: True)
    monkeypatch.setattr("deft.engine.launch.join", lambda: None)
    assert command() == 0
    assert run.given[0][5] is HERE  # each process does its part of the work on images


def test_on_ray_the_recipe_can_be_made_again_anywhere(
    call: Call, instead: Instead, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ray", "ray.data", "ray.exceptions", "ray.util", "ray.util.scheduling_strategies"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    run = instead("deft.runner.run.run", Path("report.html"))
    words = ("--data", "demo:", "--out", "x", "--thresholds", "paper", "--set", "refine.background=0.4", "--seed", "3")
    assert call("run", "irn_deft", *words, "--engine", "ray", "--ray-address", "head:6379")[0] == 0
    pipeline, engine = run.given[0][0], run.given[0][5]
    assert pipeline == assign(published(irn_deft()), ["refine.background=0.4", "seed=3"])
    assert engine.chosen() == ("irn_deft", pipeline)
    assert (engine.data, engine.name, engine.ray.address) == ("demo:", "irn_deft", "head:6379")


def test_a_study_is_given_seeds_settings_and_rows(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[StudyRunner] = []
    failures: tuple[str, ...] = ()

    def study(runner: StudyRunner) -> Outcome:
        made.append(runner)
        return Outcome("masks", "Masks", (), failures=failures)

    monkeypatch.setattr("deft.studies.STUDIES", {"masks": study})
    words = ["study", "masks", "--data", "demo:train=2,val=2,size=64", "--out", tmp_path, "--seeds", 2]
    words += ["--first-seed", 3, "--systems", "irn", "psa", "--set", "segment=none", "--precision", "32"]
    assert call(*words) == (0, f"study: {tmp_path / 'masks.md'}\n", "")
    (runner,) = made
    assert (runner.seeds, runner.systems, runner.published) == ((3, 4), ("irn", "psa"), False)
    assert runner.settings == ("segment=none", "precision=32-true")
    assert f"- command: `{runner.command}`" in (tmp_path / "masks.md").read_text()
    failures = ("irn, seed 3: no light", "psa, seed 4: no paper")
    code, out, err = call(*words, "--thresholds", "paper")
    assert (code, out) == (2, f"study: {tmp_path / 'masks.md'}\n")
    assert err == "deft: failed: irn, seed 3: no light\ndeft: failed: psa, seed 4: no paper\n"
    assert made[1].published


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("mask",), "no study 'mask'; did you mean 'masks'? There are: localisation, "),
        (("masks", "--seeds", "0"), "expected --seeds of at least 1 and --first-seed of at least 0, got 0, 0"),
        (("masks", "--first-seed", "-1"), "expected --seeds of at least 1 and --first-seed of at least 0, got 3, -1"),
    ],
)
def test_a_study_that_cannot_be_is_told(words: tuple[str, ...], told: str, call: Call, tmp_path: Path) -> None:
    code, out, err = call("study", *words, "--data", "demo:", "--out", tmp_path / "x")
    assert (code, out) == (2, "") and err.startswith(f"deft: {told}")
    assert not (tmp_path / "x").exists()


def test_check_counts_faults_and_warnings(call: Call, own_voc: Path) -> None:
    code, out, _ = call("check", f"voc:{own_voc}")
    first, cat, cow, dog, remark, count = out.splitlines()
    assert (code, first) == (0, "3 classes, 4 training images, 2 held out")
    assert [line.split(": ")[1] for line in (cat, cow, dog)] == ["img_00, img_03", "img_01, img_03", "img_02"]
    assert "warning: class 'dog' is on a single training image" in remark and count == "0 faults, 1 warning"
    (own_voc / "SegmentationClass" / "img_01.png").unlink()
    code, out, _ = call("check", f"voc:{own_voc}")
    *_, remark, _, count = out.splitlines()
    assert (code, count) == (0, "0 faults, 2 warnings")
    assert "warning: 1 of 4 images have no mask" in remark
    broken = own_voc / "JPEGImages" / "img_00.jpg"
    broken.write_bytes(b"no image")
    code, out, _ = call("check", f"voc:{own_voc}")
    assert code == 2 and out.splitlines()[-1] == "1 fault, 1 warning"
    assert [line.split(": ")[0] for line in out.splitlines() if "img_00" in line and line[0] != " "] == [str(broken)]


@pytest.mark.parametrize(("precision", "word"), [("auto", "auto"), ("32", "32-true"), ("16", "16-mixed")])
def test_predict_tells_a_folder_from_shards(precision: str, word: str, call: Call, instead: Instead) -> None:
    folder = instead("deft.predict.masks.predict_folder", 5)
    shards = instead("deft.predict.masks.predict_shards", Streamed(images=3, shards=1, all_shards=4))
    said = "5 masks in out/masks, pictures in out/overlays\n"
    assert call("predict", "run", "photos", "--out", "out", "--precision", precision) == (0, said, "")
    assert folder.given == [(Path("run"), Path("photos"), Path("out"), None, word, 0, None)]
    words = ("--out", "out", "--tags-from", "json", "--overlays", "--precision", precision)
    said = "masks of 4 shards in out; made by this command: 3 masks\n"
    assert call("predict", "run", "shards:p-{0..3}.tar", *words) == (0, said, "")
    assert shards.given == [(Path("run"), "shards:p-{0..3}.tar", Path("out"), None, "json", True, word, 0, None)]


def test_seeds_tells_a_folder_from_shards(call: Call, instead: Instead) -> None:
    folder = instead("deft.predict.seeds.locate_folder", 5)
    shards = instead("deft.predict.seeds.locate_shards", Streamed(images=3, shards=1, all_shards=4))
    assert call("seeds", "run", "photos", "--out", "out", "--tags", "tags.csv") == (0, "5 seeds in out\n", "")
    assert folder.given == [(Path("run"), Path("photos"), Path("out"), Path("tags.csv"), "auto", 0, None)]
    said = "seeds of 4 shards in out; made by this command: 3 images\n"
    assert call("seeds", "run", "shards:p.tar", "--out", "out", "--max-side", "none") == (0, said, "")
    assert shards.given == [(Path("run"), "shards:p.tar", Path("out"), None, "", "auto", None, None)]


def test_predict_in_tiles(call: Call, instead: Instead) -> None:
    tiled = instead("deft.predict.tiled.predict_tiles", 2)
    words = ("predict", "run", "photos", "--out", "out", "--tiles")
    code, said, _ = call(*words, "512,64", "--scale", "0.5", "--bands", "4,3,2", "--values", "0,3000")
    assert code == 0 and said.startswith(f"2 masks in {Path('out') / 'masks'}, pictures in {Path('out') / 'overlays'}")
    assert "\npeak memory: " in said
    assert tiled.given[0][-2:] == (Tiles(512, 64, 0.5), Channels((4, 3, 2), (0.0, 3000.0)))
    for more, told in (
        (("auto", "--max-side", "64"), "--max-side: it has no meaning with --tiles"),
        (("auto", "--rate", "25"), "--rate: it has no meaning with --tiles"),
        (("auto", "--engine", "ray"), "--tiles: expected photographs on this machine"),
        (("many",), "--tiles many: expected auto"),
    ):
        code, _, error = call(*words, *more)
        assert code == 2 and told in error
    code, _, error = call(*words[:-1], "--scale", "0.5")
    assert code == 2 and "--scale: expected --tiles with it" in error


def test_predict_a_video(call: Call, instead: Instead, tmp_path: Path) -> None:
    video = instead("deft.predict.video.predict_video", 9)
    code, said, _ = call("predict", "run", "clip.MP4", "--out", "out", "--steady", "0.5")
    assert code == 0 and said.startswith(f"9 masks in {Path('out') / 'masks'}, a video in {Path('out') / 'overlays'}")
    assert video.given[0][1] == Path("clip.MP4") and video.given[0][-1] == Moving(steady=0.5)
    assert call("predict", "run", str(tmp_path), "--out", "out", "--rate", "12.5")[0] == 0
    assert video.given[1][-1] == Moving(rate=12.5)
    for words, told in (
        (("clip.mp4", "--steady", "-1"), "--steady: expected a number from 0 to 60, got -1"),
        (("clip.mp4", "--rate", "25"), "--rate: expected a folder of frames with it"),
        (("clip.mp4", "--tags", "t.csv"), "--tags: it has no meaning with a video"),
        (("photos", "--steady", "1"), "--steady: expected a video, or --rate with a folder of frames, with it"),
    ):
        code, _, error = call("predict", "run", *words, "--out", "out")
        assert code == 2 and told in error


@pytest.mark.parametrize("verb", ["predict", "seeds"])
def test_tags_in_shards_need_shards(verb: str, call: Call) -> None:
    told = "deft: --tags-from: expected shards:PATTERN, got a folder or a photograph; give a table with --tags\n"
    assert call(verb, "run", "photos", "--out", "out", "--tags-from", "json") == (2, "", told)


def test_report_names_the_page(call: Call, instead: Instead) -> None:
    rewrite = instead("deft.runner.rewrite.rewrite_report", Path("runs/x/report.html"))
    assert call("report", "runs/x", "--beside", "runs/y") == (0, "report: runs/x/report.html\n", "")
    assert call("report", "runs/x", "--data", "own.py:Birds")[0] == 0
    assert rewrite.given == [(Path("runs/x"), [Path("runs/y")], None), (Path("runs/x"), [], "own.py:Birds")]


def test_tune_says_what_was_chosen_and_what_it_may_lose(call: Call, instead: Instead) -> None:
    found = Tuned({"seeds": 0.4, "refined": 0.25}, ("a", "b", "c"), {"seeds": 0.0123, "refined": 0.0})
    tune = instead("deft.runner.tune.tune", (found, Path("runs/x/report.html")))
    code, out, _ = call("tune", "runs/x", "--masks", "drawn", "--most", 3, "--data", "own.py:Birds")
    assert code == 0
    assert out.splitlines() == [
        "seeds: threshold 0.40, chosen on 3 masks; such a choice loses 1.2 mIoU on average over resampled masks",
        "refined: threshold 0.25, chosen on 3 masks; such a choice loses 0.0 mIoU on average over resampled masks",
        "report: runs/x/report.html, scored on the other images",
    ]
    assert tune.given == [(Path("runs/x"), Path("drawn"), 3, "own.py:Birds", False)]
    assert call("tune", "runs/x", "--reviewed")[0] == 0
    assert tune.given[1] == (Path("runs/x"), None, None, None, True)


def test_labels_are_imported_for_the_classes_that_are_named(call: Call, tmp_path: Path) -> None:
    table = {"2007_000032": np.array([1, 0], np.float32), "2007_000039": np.array([1, 1], np.float32)}
    np.save(tmp_path / "cls_labels.npy", table)  # type: ignore[arg-type]
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    out = tmp_path / "labels.csv"
    words = ("import-labels", tmp_path / "cls_labels.npy", out, "--classes", tmp_path / "classes.txt")
    assert call(*words) == (0, f"2 images in {out}\n", "")
    assert out.read_text().splitlines()[1:] == ["2007_000032,cat", "2007_000039,cat;dog"]
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    code, said, err = call(*words)
    assert (code, said) == (2, "") and "classes.txt:2" in err


@pytest.mark.parametrize(("named", "own"), [(True, False), (False, True), (False, False)])
def test_contexts_are_imported_for_the_classes_there_are(
    named: bool, own: bool, call: Call, instead: Instead, tmp_path: Path
) -> None:
    """Those of ``--classes``, else the folder's own, else VOC's."""
    imported = instead(
        "deft.data.importers.pascal_context.import_contexts", ImportedContexts(7, ("sky", "road"), ("cat",), 2)
    )
    words: list[object] = ["import-contexts", "masks", "names.txt", tmp_path]
    (tmp_path / "classes.txt").write_text("cat\ndog\n") if own else None
    if named:
        (tmp_path / "named.txt").write_text("horse\n")
        words += ["--classes", tmp_path / "named.txt"]
    code, out, _ = call(*words)
    assert code == 0
    assert out.splitlines() == [
        f"2 contexts of 7 images in {tmp_path}",
        "objects, not contexts: cat",
        f"left out: 2 masks of images that are not in {tmp_path / 'JPEGImages'}",
    ]
    masks, names, folder, classes, _ = imported.given[0]
    assert (masks, names, folder) == (Path("masks"), Path("names.txt"), tmp_path)
    assert tuple(classes)[:1] == (("horse",) if named else ("cat",) if own else ("aeroplane",))
    assert len(classes) == (1 if named else 2 if own else 20)


@pytest.mark.parametrize("words", [(), ("runs/x",), ("--out", "a.tgz"), ("runs/x", "--check", "a.tgz")])
def test_a_submission_is_written_or_checked(words: tuple[str, ...], call: Call) -> None:
    told = "deft: expected a run and --out ARCHIVE, or --check ARCHIVE; give one of the two\n"
    assert call("voc-submit", *words) == (2, "", told)


def test_a_submission_is_of_the_runs_data_unless_others_are_named(call: Call, instead: Instead, tmp_path: Path) -> None:
    listed = instead("deft.predict.voc_server.listed_images", ["one", "two"])
    submit = instead("deft.predict.voc_server.submit", 2)
    check = instead("deft.predict.voc_server.check_archive", None)
    code, _, err = call("voc-submit", tmp_path, "--out", "a.tgz")
    assert code == 2 and "found no run.json in it" in err
    write_json(tmp_path / "run.json", {"data": {"given": "voc:there"}})
    assert call("voc-submit", tmp_path, "--out", "a.tgz") == (0, "2 masks in a.tgz\n", "")
    assert call("voc-submit", tmp_path, "--out", "a.tgz", "--data", "voc:here", "--comp", 5)[0] == 0
    assert call("voc-submit", "--check", "a.tgz", "--images", "photos", "--ids", "ids.txt") == (
        0,
        "a.tgz: 2 masks, nothing the server would refuse\n",
        "",
    )
    assert listed.given == [
        ("voc:there", None, None),
        ("voc:here", None, None),
        ("", Path("photos"), Path("ids.txt")),
    ]
    assert [given[2] for given in submit.given] == [6, 5]
    assert check.given == [(Path("a.tgz"), ["one", "two"], None)]


def test_the_demo_runs_both_recipes_and_shows_them_side_by_side(call: Call, instead: Instead) -> None:
    run = instead("deft.runner.run.run", None)
    rewrite = instead("deft.runner.rewrite.rewrite_report", Path("out/demo/report.html"))
    code, out, _ = call("demo", "--out", "out")
    assert (code, out) == (0, "report: out/demo/report.html\n")
    assert run.given == [(RECIPES[name](), "demo:", Path("out") / name, name) for name in ("demo_cam", "demo")]
    assert rewrite.given == [(Path("out/demo"), [Path("out/demo_cam")])]


def test_a_fault_of_ours_is_not_taken_for_one_of_the_user(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("deft.runner.rewrite.rewrite_report", broken)
    with pytest.raises(OSError, match="Bad file"):
        call("report", "runs/x")


def test_python_dash_m_is_the_command(own_folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(own_folder / "images" / "img_00.png")
    words = [sys.executable, "-m", "deft", "check", f"folder:{own_folder}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "img_00.png" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "study", "predict", "seeds"])
@pytest.mark.parametrize("side", ["0", "31", "65537", "-5", "1e3", "10.5", "half", "", "9" * 5000])
def test_a_side_out_of_range_is_one_message(call: Call, tmp_path: Path, verb: str, side: str) -> None:
    words: dict[str, list[object]] = {
        "run": ["run", "irn", "--data", "demo:", "--out", tmp_path / "out"],
        "study": ["study", "masks", "--data", "demo:", "--out", tmp_path / "out"],
        "predict": ["predict", tmp_path / "run", tmp_path, "--out", tmp_path / "out"],
        "seeds": ["seeds", tmp_path / "run", tmp_path, "--out", tmp_path / "out"],
    }
    code, out, err = call(*words[verb], f"--max-side={side}")
    assert (code, out) == (2, "")
    assert err.endswith("expected a whole number from 32 to 65,536 (pixels), or none\n")
    assert err.count("\n") == 1 and len(err) < 200
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("word", "side"), [("none", None), ("None", None), ("32", 32), ("65536", 65536), ("640", 640)])
def test_the_side_is_a_field_of_the_pipeline(call: Call, word: str, side: int | None) -> None:
    code, out, _ = call("run", "irn", "--data", "demo:", "--out", "out", "--show", "--max-side", word)
    assert code == 0 and f"\nmax_side = {side!r}\n" in f"{out}\n"


@pytest.mark.parametrize(("troubles", "code"), [((), 0), (("--out x: make room",), 2)])
def test_doctor_tells_facts_and_troubles(
    troubles: tuple[str, ...], code: int, call: Call, instead: Callable[[str, Any], Told]
) -> None:
    facts = SimpleNamespace(troubles=troubles)
    examine = instead("deft.doctor.examine", facts)
    told = instead("deft.doctor.told", ["cores: 2", "a run can work here"])
    errors = "".join(f"deft: {trouble}\n" for trouble in troubles)
    said = call("doctor", "--out", "runs/x", "--weights", "package")
    assert said == (code, "cores: 2\na run can work here\n", errors)
    assert examine.given == [(Path("runs/x"), "package")] and told.given == [(facts,)]


@pytest.mark.parametrize(("number", "shown"), [("3", "3.0"), ("0.5", "0.5"), ("auto", "'auto'")])
def test_memory_is_a_field_of_every_recipe(number: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cam", "--data", "demo:", "--out", "run", "--memory", number, "--show"]) == 0
    assert f"memory = {shown}" in capsys.readouterr().out.splitlines()


def test_export_model_hands_on_its_choices_and_prints_what_it_wrote(call: Call, instead: Instead) -> None:
    done = Exported({"segment.onnx": 4.7e-6}, ("the run has no classifier",), "https://hub/jane/birds")
    export = instead("deft.deploy.folder.export_model", done)
    code, out, err = call("export-model", "runs/x", "--out", "model", "--push", "jane/birds", "--data", "demo:")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "the run has no classifier",
        "segment.onnx: largest difference from torch 4.7e-06",
        "exported to model, uploaded to https://hub/jane/birds",
    ]
    assert export.given == [(Path("runs/x"), Path("model"), None, "demo:", "jane/birds")]


def test_export_model_of_no_run_is_one_message(call: Call, tmp_path: Path) -> None:
    code, out, err = call("export-model", tmp_path, "--out", tmp_path / "model", "--format", "torch")
    assert (code, out) == (2, "")
    assert err.startswith("deft: ") and "found no run.json" in err and len(err.splitlines()) == 1
