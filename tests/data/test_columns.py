from __future__ import annotations

import pytest

from deft.data.columns import NoColumns, find_columns, plain_header, recognised, says_yes

ROWS = [["a.jpg", "cow"], ["b.jpg", "dog"]]


@pytest.mark.parametrize("image", ["image", "Filename", "file_name", "image_id", "Image Path", "\ufeffpath", "ID"])
@pytest.mark.parametrize("labels", ["labels", "label", "Tags", "class", "class_name", "Category", "keywords", "choice"])
def test_usual_headers_are_known_in_any_order(image: str, labels: str) -> None:
    found = find_columns([image, labels], ROWS)
    assert (found.image, found.labels, found.one_hot) == (0, (1,), False)
    found = find_columns(["note", labels, image], [["x", tags, name] for name, tags in ROWS])
    assert (found.image, found.labels) == (2, (1,))
    assert recognised([image, labels]) == 2
    assert bool(found.remarks) == (plain_header(image) != "image" or plain_header(labels) != "labels")


def test_the_cells_decide_where_the_headers_do_not() -> None:
    rows = [["0", "a.jpg", "cow"], ["1", "b.jpg", "dog"]]
    is_image = {"a.jpg", "b.jpg"}.__contains__
    assert find_columns(["id", "path", "tag"], rows, is_image=is_image).image == 1
    assert find_columns(["nummer", "Bild", "label"], rows, is_image=is_image).image == 1
    assert find_columns(["Bild", "Klasse"], ROWS, is_image=is_image).labels == (1,)
    assert find_columns(["image", "class_id", "class"], [["a", "0", "cow"], ["b", "1", "dog"]]).labels == (2,)
    assert find_columns(["image", "label", "class"], [["a", "cow", "cow"], ["b", "dog", "dog"]]).labels == (1,)


def test_labels_in_several_columns() -> None:
    rows = [["a", "cow", "dog"], ["b", "cow", ""]]
    assert find_columns(["image", "label1", "label2"], rows).labels == (1, 2)
    assert find_columns(["image", "tag_1", "tag_2"], rows).labels == (1, 2)


@pytest.mark.parametrize(
    ("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("x", ""), ("yes", "no"), ("1", "-1"), ("1", "NaN")]
)
def test_one_column_for_each_class(yes: str, no: str) -> None:
    found = find_columns(["image", "cow", "polar bear", "note"], [["a", yes, no, "u"], ["b", no, yes, "v"]])
    assert found.one_hot and found.labels == (1, 2)
    assert "cow, polar bear (not note)" in found.remarks[-1][0]
    assert says_yes(yes) and not says_yes(no)


def test_classes_known_beforehand_choose_their_columns() -> None:
    found = find_columns(["image", "blurred", "cow"], [["a", "1", "1"], ["b", "1", "0"]], classes=("cow", "dog"))
    assert found.one_hot and found.labels == (2,)


def test_a_label_that_is_said_to_be_absent() -> None:
    header = ["ImageID", "LabelName", "Confidence"]
    assert find_columns(header, [["a", "cow", "1"], ["a", "dog", "0"]]).sure == 2
    assert find_columns(header, [["a", "cow", "0.9"], ["a", "dog", "0.8"]]).sure is None


@pytest.mark.parametrize(
    ("header", "rows", "word"),
    [
        (["a.jpg", "cow"], ROWS, "'image,labels'"),
        (["image labels"], [["a cow"]], "separated by ','"),
        (["image", "width", "height"], [["a", "3", "4"]], "no column of labels"),
        (["image", "labels", "labels"], [["a", "cow", "dog"]], "two columns are named 'labels'"),
        (["image", "Labels", "labels"], [["a", "cow", "dog"]], "two columns are named"),
        (["image", "label", "label.1"], [["a", "cow", "dog"]], "two columns are named 'label'"),
        (["image", "image", "label"], [["a", "b", "dog"]], "two columns are named 'image'"),
        (["image", "cow", "cow"], [["a", "1", "0"]], "two columns are named 'cow'"),
        (["image", "label", "category"], [["a", "cow", "x"], ["b", "dog", "y"]], "'label' and 'category'"),
        (["image", "cow", "dog"], [["a", "1", "-1"], ["b", "0", "1"]], "1, 0 and -1"),
        (["image", "cow", "dog"], [["a", "1", "0"], ["b", "2", "1"], ["c", "0", "1"]], "'cow', got '2'"),
    ],
)
def test_what_leaves_a_choice_is_one_fault(header: list[str], rows: list[list[str]], word: str) -> None:
    with pytest.raises(NoColumns) as caught:
        find_columns(header, rows, is_image=lambda name: name == "a.jpg")
    assert word in caught.value.what and caught.value.remedy


def test_lost_cells_are_told() -> None:
    found = find_columns(["image", "labels", ""], [["a", "cow", "dog"]])
    assert found.labels == (1,) and "'dog'" in found.remarks[0][0]
