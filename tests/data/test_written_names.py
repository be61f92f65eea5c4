from __future__ import annotations

from pathlib import Path

import pytest

from deft.data.faults import Faults
from deft.data.files import ImageFiles, named_images
from deft.data.written_names import WrittenNames, match

ROOT = Path("photos")


def images(*names: str) -> ImageFiles:
    return named_images(ROOT, [ROOT / name for name in names])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("/home/me/data/images/a.jpg", "a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("../images/a.jpg", "a.jpg"),
        ("C:\\Users\\me\\images\\a.jpg", "a.jpg"),
        ("C:/Users/me/images/a.jpg", "a.jpg"),
        ("\\\\server\\share\\a.jpg", "a.jpg"),
        ("a.JPG", "a.jpg"),
        ("A.jpg", "a.jpg"),
        ("a.jpeg", "a.jpg"),
        ("a.png", "a.jpg"),
        ("file:///home/me/a.jpg", "a.jpg"),
        ("file:///C:/me/my%20cow.jpg", "my cow.jpg"),
        ("my%20cow.jpg", "my cow.jpg"),
        ("https://example.org/photos/a.jpg?size=3", "a.jpg"),
        ("s3://bucket/photos/a.jpg", "a.jpg"),
        ("/data/upload/3/1a2b3c-a.jpg", "a.jpg"),
        ("/data/upload/3/1a2b3c4d-my_cow.jpg", "my cow.jpg"),
        ("550e8400-e29b-41d4-a716-446655440000-a.jpg", "a.jpg"),
        ("/data/local-files/?d=photos/sub/b.png", "sub/b.png"),
        ("/data/upload/3/1a2b3c-b.png", "sub/b.png"),
        ("a_jpg.rf.0123456789abcdef.jpg", "a.jpg"),
        ("D:\\photos\\SUB\\b.PNG", "sub/b.png"),
        ("b", "sub/b.png"),
        ("'a.jpg'", "a.jpg"),
        ("a.jpg\u200b", "a.jpg"),
        ("12", "0012.jpg"),
        ("12.0", "0012.jpg"),
    ],
)
def test_names_from_other_places_mean_the_image_they_meant_there(written: str, name: str) -> None:
    files = images("a.jpg", "my cow.jpg", "sub/b.png", "other.jpg", "0012.jpg")
    faults = Faults()
    [index] = match([(written, 2)], files, Path("labels.csv"), faults)
    assert index is not None and files.paths[index] == ROOT / name
    [remark] = faults.all
    assert remark.warning and repr(written) in remark.what


def test_the_files_own_names_need_no_remark() -> None:
    files, faults = images("a.jpg", "1a2b3c-a.jpg", "sub/b.png"), Faults()
    named = [("a.jpg", 2), ("1a2b3c-a", 3), ("sub\\b", 4), ("./a", 5)]
    assert match(named, files, Path("t"), faults) == [files.names.index("a"), files.names.index("1a2b3c-a"), 2, 1]
    assert faults.all == []


@pytest.mark.parametrize("written", ["dog/a.jpg", "/x/dog/a.jpg", "aa.jpg", "a", "cat/b", "", "/", "3"])
def test_a_path_in_another_folder_is_another_image(written: str) -> None:
    assert WrittenNames(images("cat/a.jpg", "cat/x/a.jpg", "dog/b.jpg")).find(written)[0] != (0,)


def test_the_longest_agreement_wins() -> None:
    files = images("a.jpg", "cat/a.jpg", "dog/a.jpg")
    found = WrittenNames(files)
    assert [found.find(f"/x/{name}")[0] for name in ("cat/a.jpg", "dog/a.jpg", "cow/a.jpg")] == [(1,), (2,), (0,)]


def test_two_paths_of_one_image_are_one_fault() -> None:
    files, faults = images("a.jpg", "b.jpg"), Faults()
    named = [("train/a.jpg", 2), ("val/a.jpg", 3), ("train/b.jpg", 4), ("val/b.jpg", 5)]
    assert match(named, files, Path("labels.csv"), faults) == [None] * 4
    [fault] = faults.all
    assert fault.line == 3 and "'train/a.jpg' and 'val/a.jpg' may both mean 'a' (and 1 more image)" in fault.what


def test_one_path_in_several_rows_is_no_clash() -> None:
    files, faults = images("a.jpg"), Faults()
    assert match([("/x/a.jpg", 2), ("/x/a.jpg", 3)], files, Path("t"), faults) == [0, 0] and not faults.errors


def test_many_wrong_names_are_one_fault_and_few_are_each() -> None:
    files = images("cow0.jpg", "sheep.jpg", "c.jpg", "c.png")
    for count in (1, 3, 4, 50):
        faults = Faults()
        named = [(f"cwo{k}", k + 2) for k in range(count)]
        assert match(named, files, Path("labels.csv"), faults) == [None] * count
        assert len(faults.all) == (count if count <= 3 else 1) and faults.all[0].line == 2
        assert "no image" in faults.all[0].what and "nearest: 'cow0'" in faults.all[0].what
    faults = Faults()
    assert match([("c", 2)], files, Path("labels.csv"), faults) == [None]
    assert "'c' may mean 'c.jpg' and 'c.png'" in str(faults.all[0]) and "suffix" in faults.all[0].remedy
