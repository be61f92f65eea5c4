"""Which columns of a table hold the images and their labels, from the header and, where needed, the cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from deft.data.cells import means_nothing
from deft.data.invisible import visible

IMAGE_HEADERS = (
    *("image", "filename", "imagename", "imagefile", "imagefilename", "imagepath", "filepath", "path", "file"),
    *("imageid", "img", "imgname", "imgpath", "imgfile", "imgid", "images", "files", "filenames", "paths", "fname"),
    *("photo", "photoname", "photofile", "photopath", "photoid", "photograph", "picture", "picturename", "pic"),
    *("originalfilename", "relativepath", "relpath", "fullpath", "filelocation", "location", "externalid"),
    *("fileupload", "imageurl", "imageuri", "imgurl", "imguri", "fileurl", "url", "uri", "gcsuri", "gcsfilepath"),
    *("fileid", "sourcefile", "frame", "basename", "stem", "key", "name", "id", "sample", "sampleid", "item"),
)
"""Usual headers of the column of images, the likelier first; without case, spaces and punctuation."""

LABEL_HEADERS = frozenset(
    (
        *("labels", "label", "tags", "tag", "classes", "class", "categories", "category", "keywords", "keyword"),
        *("classname", "classnames", "classlabel", "classlabels", "labelname", "labelnames", "labeltext"),
        *("categoryname", "categorynames", "tagname", "tagnames", "imagelabel", "imagelabels", "imagetags"),
        *("imageclass", "imageclasses", "imagecategory", "species", "breed", "subject", "subjects", "concept"),
        *("concepts", "target", "targets", "targetname", "truth", "groundtruth", "groundtruthlabel", "annotation"),
        *("annotations", "object", "objects", "objectname", "objectclass", "objectlabel", "choice", "choices"),
        *("multilabel", "multilabels", "sentiment", "displayname", "gt", "clazz", "cls"),
    )
)
_NUMBER_HEADERS = frozenset(
    f"{name}{end}"
    for name in ("label", "class", "category", "tag", "target", "species")
    for end in ("id", "ids", "index", "idx", "no", "num", "number", "code")
)
"""Headers of columns that number the labels: used if no other column names them."""

_NOT_CLASSES = frozenset(
    (
        *("", "index", "id", "no", "nr", "row", "width", "height", "depth", "size", "split", "fold", "set", "subset"),
        *("usage", "valid", "isvalid", "isval", "val", "train", "istrain", "test", "istest", "difficult", "truncated"),
        *("occluded", "isoccluded", "istruncated", "isgroupof", "isdepiction", "isinside", "iscrowd", "verified"),
        *("confidence", "score", "pose", "xmin", "xmax", "ymin", "ymax", "x", "y", "w", "h", "area", "annotator"),
        *("annotationid", "leadtime", "createdat", "updatedat", "source", "comment", "note", "notes"),
    )
)
"""Headers that are no class in a table with one column for each."""

_SURE = frozenset(("confidence", "present", "presence"))
_YES = frozenset(("1", "1.0", "true", "t", "yes", "y", "x", "\u2713", "\u2714", "\u2611"))
_NO = frozenset(("0", "0.0", "false", "f", "no", "n", "-1", "-1.0"))


@dataclass(frozen=True)
class Columns:
    """Positions of the columns that are read."""

    image: int
    labels: tuple[int, ...]
    """Columns whose cells name labels."""
    sure: int | None = None
    """Column that is 0 in rows whose label the image does not show, as in Open Images; None if there is none."""
    one_hot: bool = False
    """Every column of ``labels`` is a class, and its cells say whether an image shows it."""
    remarks: tuple[tuple[str, str], ...] = ()


class NoColumns(ValueError):
    """The columns cannot be determined."""

    def __init__(self, what: str, remedy: str) -> None:
        """Keep the parts of a fault."""
        super().__init__(what)
        self.what, self.remedy = what, remedy


def plain_header(text: str) -> str:
    """A header without case, spaces and punctuation: ``File_Name`` is ``filename``."""
    cleaned = re.sub(r"[\s_\-./#'\"()\[\]:]+", "", visible(text).casefold())
    return re.sub(r"unnamed\d+", "", cleaned)


def recognised(fields: Sequence[str]) -> int:
    """How much of a header is known: 2 if it names images and labels, 1 if one of them, else 0."""
    plain = [plain_header(field) for field in fields]
    image = any(name in IMAGE_HEADERS for name in plain)
    return image + any(name in LABEL_HEADERS or name in _NUMBER_HEADERS for name in plain)


def find_columns(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    classes: Collection[str] = (),
    is_image: Callable[[str], bool] | None = None,
) -> Columns:
    """Find the columns of images and labels.

    Args:
        header: names of the columns.
        rows: cells, each row as long as the header.
        classes: names of the classes known beforehand, or empty.
        is_image: whether a cell names an image of the dataset; None if its images are not known.

    Raises:
        NoColumns: there are none, or more than one choice.
    """
    plain = [plain_header(field) for field in header]
    if len(header) == 1 and recognised(header[0].split()) == 2:
        raise NoColumns(f"expected columns separated by ',', got the header {header[0]!r}", "separate them by ','")
    image = _image_column(plain, rows, is_image)
    if image is None or (plain[image] not in IMAGE_HEADERS and is_image is not None and is_image(header[image])):
        raise NoColumns(f"expected the header 'image,labels', got {','.join(header)[:80]!r}", "add the header")
    remarks = []
    if plain[image] != "image":
        remarks.append(
            (
                f"the images are read from column {visible(header[image])!r}",
                "name the right one 'image' if that is wrong",
            )
        )
    labels, one_hot, said = _label_columns(header, plain, image, rows, classes)
    _refuse_repeated(header, plain, (image, *labels))
    remarks += said
    lost = [at for at, name in enumerate(plain) if not name and at > max(labels)]
    if not one_hot and (kept := next((row[at] for row in rows for at in lost if not means_nothing(row[at])), None)):
        remarks.append((f"cells in columns without a header are not read, such as {kept[:60]!r}", "name the columns"))
    sure = next((at for at, name in enumerate(plain) if name in _SURE and at != image), None)
    if one_hot or sure is None or not any(is_zero(row[sure]) for row in rows):
        return Columns(image, labels, None, one_hot, tuple(remarks))
    what = f"labels are read as absent in rows with 0 in column {visible(header[sure])!r}"
    return Columns(image, labels, sure, one_hot, (*remarks, (what, "rename that column if that is wrong")))


def _image_column(
    plain: Sequence[str], rows: Sequence[Sequence[str]], is_image: Callable[[str], bool] | None
) -> int | None:
    """The column of images: by its header if one is known, by its cells if several or none are."""
    known = sorted(
        (at for at, name in enumerate(plain) if name in IMAGE_HEADERS), key=lambda at: IMAGE_HEADERS.index(plain[at])
    )
    unsure = known or list(range(len(plain)))
    if len(known) == 1 or is_image is None or not rows:
        return known[0] if known else None
    sample = rows[:: max(1, len(rows) // 200)]
    counts = {at: sum(is_image(row[at]) for row in sample) for at in unsure}
    best = max(unsure, key=lambda at: (counts[at], -unsure.index(at)))
    if not known and 2 * counts[best] < len(sample):
        return None
    return known[0] if known and plain[known[0]] == "image" and counts[known[0]] else best


def _label_columns(
    header: Sequence[str], plain: Sequence[str], image: int, rows: Sequence[Sequence[str]], classes: Collection[str]
) -> tuple[tuple[int, ...], bool, list[tuple[str, str]]]:
    """Columns of labels, whether each is a class, and remarks."""
    others = [at for at in range(len(header)) if at != image]
    if "labels" in (names := [plain[at] for at in others]):
        return (others[names.index("labels")],), False, []
    if numbered := _numbered(header, plain, others):
        what = (
            f"the labels are read from {len(numbered)} columns, {', '.join(repr(header[at]) for at in numbered)[:80]}"
        )
        return numbered, False, [(what, "name the right one 'labels' if that is wrong")]
    for known in (LABEL_HEADERS, _NUMBER_HEADERS):
        found = [at for at in others if plain[at] in known]
        if found:
            return (
                (_one_of(header, plain, found, rows),),
                False,
                _read_from(header, _one_of(header, plain, found, rows)),
            )
    if hot := _one_hot(header, plain, others, rows, classes):
        return hot
    rest = [at for at in others if plain[at] not in _NOT_CLASSES]
    if len(rest) == 1 and not all(_is_number(row[rest[0]]) for row in rows):
        return (rest[0],), False, _read_from(header, rest[0])
    what = f"expected the header 'image,labels', got {','.join(map(visible, header))[:80]!r}, with no column of labels"
    raise NoColumns(what, "name the column of labels 'labels'")


def _read_from(header: Sequence[str], at: int) -> list[tuple[str, str]]:
    return [
        (f"the labels are read from column {visible(header[at])!r}", "name the right one 'labels' if that is wrong")
    ]


def _numbered(header: Sequence[str], plain: Sequence[str], others: Sequence[int]) -> tuple[int, ...]:
    """Columns such as ``label1, label2, label3``."""
    found: dict[str, list[int]] = {}
    for at in others:
        if (base := re.sub(r"\d+$", "", plain[at])) in LABEL_HEADERS and not re.search(r"\.\d+\s*$", header[at]):
            found.setdefault(base, []).append(at)
    series = [columns for columns in found.values() if len({plain[at] for at in columns}) > 1]
    series = [columns for columns in series if any(plain[at][-1].isdigit() for at in columns)]
    return tuple(series[0]) if len(series) == 1 else ()


def _one_of(header: Sequence[str], plain: Sequence[str], found: list[int], rows: Sequence[Sequence[str]]) -> int:
    """The column of labels among several with a usual header: those of names before those of numbers."""
    used = [at for at in found if any(not means_nothing(row[at]) for row in rows)] or found
    words = [at for at in used if not all(_is_number(row[at]) for row in rows)] or used
    contents = {tuple(visible(row[at]) for row in rows) for at in words}
    if len(contents) > 1 and len({plain[at] for at in words}) > 1:
        names = " and ".join(repr(visible(header[at])) for at in words)
        raise NoColumns(f"the columns {names} may all hold the labels", "name the right one 'labels'")
    return words[0]


def _one_hot(
    header: Sequence[str],
    plain: Sequence[str],
    others: Sequence[int],
    rows: Sequence[Sequence[str]],
    classes: Collection[str],
) -> tuple[tuple[int, ...], bool, list[tuple[str, str]]] | None:
    """The columns of a table with one column for each class, or None if it is none."""
    named = [at for at in others if visible(header[at]) in classes]
    chosen = named or [at for at in others if plain[at] not in _NOT_CLASSES]
    values = {at: {visible(row[at]).casefold() for row in rows} for at in chosen}
    hot = [at for at in chosen if values[at] & (_YES | _NO) and _only_yes_and_no(values[at])]
    if not hot:
        return None
    signs = set().union(*(values[at] for at in hot))
    if signs & {"-1", "-1.0"} and signs & {"0", "0.0"}:
        raise NoColumns(
            "the columns of classes contain 1, 0 and -1, and 0 may be absent or unsure", "write 1 and 0 only"
        )
    for at in chosen:
        doubtful = sorted(value for value in values[at] if not _only_yes_and_no({value}))
        if doubtful and (named or sum(visible(row[at]).casefold() in _YES | _NO for row in rows) * 2 >= len(rows)):
            what = f"expected 1 or 0 in column {visible(header[at])!r}, got {doubtful[0][:60]!r}"
            raise NoColumns(what, "write 1 where the image shows the class, else 0")
    names = ", ".join(visible(header[at]) for at in hot[:8]) + (", ..." if len(hot) > 8 else "")
    left = [visible(header[at]) for at in others if at not in hot and plain[at]]
    what = f"every column is read as one class: {names}" + (f" (not {', '.join(left[:8])})" if left else "")
    return tuple(hot), True, [(what, "write image,labels instead if that is wrong")]


def says_yes(cell: str) -> bool:
    """Whether a cell of a table with one column for each class says that the image shows it."""
    return visible(cell).casefold() in _YES


def is_zero(cell: str) -> bool:
    """Whether a cell is the number 0."""
    return re.fullmatch(r"0+(?:[.,]0*)?", visible(cell)) is not None


def _only_yes_and_no(values: set[str]) -> bool:
    return all(value in _YES or value in _NO or means_nothing(value) for value in values)


def _is_number(cell: str) -> bool:
    return means_nothing(cell) or re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", visible(cell)) is not None


def _refuse_repeated(header: Sequence[str], plain: Sequence[str], used: Sequence[int]) -> None:
    """Refuse a second column of the same name; pandas names it ``labels.1``."""
    for at in used:
        name = visible(header[at]).casefold()
        for other in range(len(header)):
            same = visible(header[other]).casefold()
            if other != at and (same == name or re.fullmatch(rf"{re.escape(name)}\.\d+", same)):
                raise NoColumns(
                    f"two columns are named {visible(header[at])!r}", "keep one, or join their labels with ';'"
                )
