"""The addresses of the page, asked over HTTP: what is answered, and that nothing that is sent does harm."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deft.artifacts.review import Review
from review_runs import Client, served


def png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def mask_of(client: Client, number: int) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(client.get(f"/files/layer/mask/{number}.png").body)))


def test_the_run_is_described(client: Client) -> None:
    found = client.get("/api/run").json
    assert (found["run"], found["total"], found["ignore"]) == ("run", 12, 255)
    assert found["layers"] == ["mask", "pseudo", "refined", "seeds", "network"]
    assert found["orders"] == ["suggested", "name", "score", "class"]
    assert found["contexts"] == ["grass", "road"]
    assert found["classes"][2] == {"id": 3, "name": "dog", "color": "#808000", "images": 4}
    assert len(found["key"]) == 16


def test_images_are_listed_in_parts(client: Client) -> None:
    everything = client.get("/api/images?order=name&fields=ids").json
    assert everything == {"total": 12, "ids": list(range(12))}
    part = client.get("/api/images?order=name&offset=10&limit=5").json
    assert (part["total"], [each["id"] for each in part["images"]]) == (12, [10, 11])
    assert client.get("/api/images?offset=99").json == {"total": 12, "images": []}
    assert client.get("/api/images?class=dog&context=grass&fields=ids&order=name").json["ids"] == [2, 4, 8, 10]
    some = client.get("/api/images?ids=7,3").json
    assert [each["name"] for each in some["images"]] == ["img_07", "img_03"]
    keys = ("id", "name", "width", "height", "split", "state", "tags", "revision", "older_maps")
    assert [some["images"][0][key] for key in keys] == [
        *(7, "img_07", 64, 64, "train", "unreviewed", [2], 0, False),
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/images?order=x", 400),
        ("/api/images?class=horse", 400),
        ("/api/images?limit=100000", 400),
        ("/api/images?ids=12", 400),
        ("/api/image/12", 404),
        ("/api/image/-1", 400),
        ("/api/image/..%2f..%2frun.json", 404),
        ("/api/image/" + "9" * 400, 400),
        ("/files/photo/12.jpg", 404),
        ("/files/photo/..%2f..%2frun.json", 404),
        ("/files/layer/mask/x.png", 400),
        ("/files/layer/..%2frefined/0.png", 404),
        ("/files/layer/nothing/0.png", 400),
        ("/files/layer/network/0.png", 400),
        ("/files/maps/refined/9", 400),
        ("/files/maps/nothing/0", 400),
        ("/files/superpixels/0.png?cells=1000000000", 400),
        ("/files/superpixels/0.png?cells=0", 400),
        ("/static/page/..%2fapp.py", 404),
        ("/static/leaflet/..%2f__init__.py", 404),
        ("/nothing", 404),
        ("/api/stop", 405),
        ("/api/image/0/mask", 405),
    ],
)
def test_what_there_is_not_is_told_in_one_line(client: Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    assert "\n" not in answer.json["error"]
    assert len(answer.json["error"]) < 400


@pytest.mark.parametrize(
    ("path", "kind", "shape"),
    [
        ("/files/thumb/0.jpg", "image/jpeg", (64, 64, 3)),
        ("/files/thumb/0.jpg?mask=1", "image/jpeg", (64, 64, 3)),
        ("/files/photo/9.jpg", "image/jpeg", (64, 64, 3)),
        ("/files/layer/seeds/3.png", "image/png", (64, 64)),
        ("/files/layer/network/9.png", "image/png", (64, 64)),
        ("/files/superpixels/0.png?cells=50", "image/png", (64, 64, 3)),
        ("/static/leaflet/images/layers.png", "image/png", (26, 26, 2)),
    ],
)
def test_pictures(client: Client, path: str, kind: str, shape: tuple[int, ...]) -> None:
    answer = client.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, kind)
    picture = Image.open(io.BytesIO(answer.body))
    assert np.array(picture).shape == shape
    if "etag" in answer.headers:
        again = client.ask("GET", path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
        assert answer.headers["cache-control"] == "private, no-cache"
    else:
        assert answer.headers["cache-control"] == "no-store"


def test_only_this_servers_page_is_answered(client: Client) -> None:
    """The guard stands before every address (its own tests are more)."""
    for path in ("/", "/api/run", "/files/photo/0.jpg", "/static/leaflet/leaflet.css"):
        assert client.get(path, Host=f"evil.example:{client.port}").status == 403
        assert client.get(path, Cookie="").status == 403
    elsewhere = {"Origin": "http://evil.example"}
    assert client.ask("POST", "/api/image/0/state", {"revision": 0, "state": "rejected"}, elsewhere).status == 403
    assert client.get("/api/image/0").json["state"] == "unreviewed"


def test_every_step_over_http(run: Path) -> None:
    with served(run) as client:
        drawn = mask_of(client, 0)
        drawn[:5, :5] = 255
        answer = client.post("/api/image/0/mask?revision=0&what=polygon", png(drawn))
        assert (answer.status, answer.json["state"], answer.json["revision"]) == (200, "corrected", 1)
        assert (mask_of(client, 0) == drawn).all()
        stale = client.post("/api/image/0/mask?revision=0&what=brush", png(np.zeros_like(drawn)))
        assert (stale.status, stale.json["image"]["revision"]) == (409, 1)
        for path, body, state in (
            ("undo", {}, "unreviewed"),
            ("redo", {}, "corrected"),
            ("state", {"state": "rejected"}, "rejected"),
            ("tags", {"tags": [1, 3]}, "rejected"),
            ("state", {"state": "accepted"}, "corrected"),
            ("redo", {}, "corrected"),  # there is nothing to redo
        ):
            revision = client.get("/api/image/0").json["revision"]
            answer = client.post(f"/api/image/0/{path}", body | {"revision": revision})
            assert (answer.status, answer.json["state"]) == (200, state)
        assert (answer.json["revision"], answer.json["tags"], answer.json["can_redo"]) == (6, [1, 3], False)
        assert client.post("/api/image/0/undo", {"revision": 2}).status == 409
        assert client.post("/api/threshold", {"value": 0.6, "class": 2, "image": None}).json == {
            "changed": 4,
            "next": None,
        }
        one = client.post("/api/threshold", {"value": 0.1, "class": None, "image": 1, "revision": 1}).json
        assert (one["changed"], one["image"]["threshold"], one["image"]["revision"]) == (1, 0.1, 2)
        stale = client.post("/api/threshold", {"value": 0.2, "image": 1, "revision": 1})
        assert (stale.status, stale.json["image"]["id"]) == (409, 1)
        assert client.get("/api/run").json["counts"]["corrected"] == 1
    found = Review(run, ("cat", "cow", "dog"))
    assert (found.mask("img_00") == drawn).all()
    assert found.read()["img_00"].tags == ("cat", "dog")


BAD = [
    ("/api/image/0/mask?revision=0&what=brush", b"no picture", 400),
    ("/api/image/0/mask?revision=0&what=brush", png(np.zeros((64, 63), np.uint8)), 400),
    ("/api/image/0/mask?revision=0&what=brush", png(np.full((64, 64), 9, np.uint8)), 400),
    ("/api/image/0/mask?revision=0&what=brush", png(np.zeros((64, 64, 3), np.uint8)), 400),
    ("/api/image/0/mask?revision=0&what=brush", b"x" * 16_000_001, 413),
    ("/api/image/0/mask?revision=0&what=../x", png(np.zeros((64, 64), np.uint8)), 400),
    ("/api/image/0/mask?what=brush", png(np.zeros((64, 64), np.uint8)), 400),
    ("/api/image/99/mask?revision=0&what=brush", png(np.zeros((64, 64), np.uint8)), 404),
    ("/api/image/0/state", b"", 400),
    ("/api/image/0/state", b"[]", 400),
    ("/api/image/0/state", {"state": "accepted"}, 400),
    ("/api/image/0/state", {"revision": "x", "state": "accepted"}, 400),
    ("/api/image/0/state", {"revision": 0, "state": "done"}, 400),
    ("/api/image/0/state", {"revision": 0, "state": ["accepted"]}, 400),
    ("/api/image/0/state", b" " * 64_001, 413),
    ("/api/image/0/tags", {"revision": 0, "tags": [4]}, 400),
    ("/api/image/0/tags", {"revision": 0, "tags": "cat"}, 400),
    ("/api/image/0/undo", {}, 400),
    ("/api/image/99/redo", {"revision": 0}, 404),
    ("/api/threshold", {"value": 1.5, "image": 0, "revision": 0}, 400),
    ("/api/threshold", {"value": 0.5, "class": 9, "image": None}, 400),
    ("/api/threshold", {"value": 0.5, "image": 99, "revision": 0}, 404),
    ("/api/threshold", {"value": 0.5, "image": 9, "revision": 0}, 400),
    ("/api/run", {}, 405),
]


def test_what_cannot_be_done_is_told_and_writes_nothing(run: Path) -> None:
    with served(run) as client:
        for path, body, status in BAD:
            answer = client.post(path, body)
            assert (path, answer.status) == (path, status)
            assert list(answer.json) == ["error"]
            assert "\n" not in answer.json["error"]
            assert len(answer.json["error"]) < 400
        assert client.get("/api/image/0").json["revision"] == 0
    assert not list((run / "review").rglob("*.png"))


def test_a_disk_that_fails_is_told_and_nothing_is_changed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    with served(run) as client:
        client.post("/api/image/0/state", {"revision": 0, "state": "accepted"})
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            answer = client.post("/api/image/0/state", {"revision": 1, "state": "rejected"})
        assert (answer.status, "No space left" in answer.json["error"]) == (500, True)
        assert client.get("/api/image/0").json["state"] == "accepted"
        assert client.post("/api/image/0/state", {"revision": 1, "state": "rejected"}).json["revision"] == 2


def test_names_of_files_go_through_as_they_are(make_voc: Any, tmp_path: Path) -> None:
    from review_runs import write_run

    data = make_voc(tmp_path / "voc", count=3, side=16)
    names = ["<script>alert(1)</script>", "a\udcffb", "猫 \u202e"]
    try:
        for number, name in enumerate(names):
            file = data / "JPEGImages" / f"img_{number:02d}.jpg"
            file.rename(file.with_name(f"{name.replace('/', '_')}.jpg"))
    except (OSError, UnicodeError):
        pytest.skip("the disk does not take such names")
    folder = tmp_path / "folder"
    (data / "JPEGImages").rename(folder)
    (folder / "x").mkdir()
    for file in list(folder.glob("*.jpg")):
        file.rename(folder / "x" / file.name)
    run = write_run(tmp_path / "run", f"imagefolder:{folder}")
    with served(run) as client:
        found = client.get("/api/images?order=name").json["images"]
        assert len(found) == 3
        assert any("<script>" in each["name"] for each in found)
        for each in found:
            assert client.get(f"/files/thumb/{each['id']}.jpg").status == 200
            body = {"revision": 0, "state": "accepted"}
            assert client.post(f"/api/image/{each['id']}/state", body).json["name"] == each["name"]


def test_the_server_ends_when_it_is_asked_to(run: Path) -> None:
    with served(run) as client:
        assert client.post("/api/stop").status == 204
        with pytest.raises(OSError):
            for _ in range(100):
                client.get("/api/run")
