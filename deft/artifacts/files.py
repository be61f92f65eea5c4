"""Files of a run folder: JSON, tensors, seeds and masks, each written whole or not at all, none of them a pickle."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import secrets
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError, SeedMaps
from deft.guards.memory import is_shortage
from deft.guards.opening import UnreadableError, check_regular, open_regular, read_regular
from deft.guards.pictures import read_png
from deft.guards.words import shown

if TYPE_CHECKING:
    from torch import Tensor


def palette() -> NDArray[np.uint8]:
    """The PASCAL VOC colour map, (256, 3) RGB: bit i of a value spreads over the high bits of the three channels."""
    values = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((values >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def file_stem(name: str) -> str:
    """Relative path without suffix for a sample's files: folders are kept, unsafe characters are percent-encoded.

    Distinct names give distinct stems. A part of more than 150 bytes is truncated and gets its hash appended.
    """
    parts = []
    for part in name.split("/"):
        safe = re.sub(r"[^\w .()+,=@-]|^[. ]|[. ]$|^$", lambda found: _percent(found.group()), part)
        if len(safe.encode()) > 150:
            digest = hashlib.sha256(part.encode()).hexdigest()[:16]
            safe = safe.encode()[:120].decode(errors="ignore") + "%" + digest
        parts.append(safe)
    return "/".join(parts)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape")) or "%00"


def atomic_write(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` whole or not at all.

    Raises:
        OSError: raised by the system, for example for a full disk; the old file is then untouched.
    """
    with whole_file(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, part: str = ".part-") -> Iterator[BinaryIO]:
    """A temporary file that is renamed to ``path`` when the block succeeds, and removed when it fails.

    Args:
        path: an existing file is replaced.
        part: prefix of the temporary name, in the same folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{part}{secrets.token_hex(8)}"
    file = open(temporary, "xb")  # noqa: SIM115 (closed below; open() respects the user's umask, tempfile does not)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # a disk that fails may refuse this too
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # writing and fsync know no name
        raise


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON."""
    try:
        text = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # half of a pair, which a name on a disk or in another record may hold
        text = (json.dumps(value, indent=2) + "\n").encode()
    atomic_write(path, text)


_DEEPEST = 50
"""Most levels of brackets in a record; those of deft have ten."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file cannot be read, or is not JSON.
    """
    content = read_regular(path)
    try:
        value = json.loads(content.decode("utf-8"))
        if _is_deep(value):
            raise RecursionError
        return value
    except (ValueError, RecursionError) as error:
        reason = "brackets nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{shown(path)}: expected JSON, got {reason}; remove the file and run again") from None


def _is_deep(value: Any) -> bool:
    """Whether a value has more levels of brackets than any record of deft, so that recursion over it could fail."""
    level = [value]
    for _ in range(_DEEPEST):
        below = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [inner for items in below for inner in items]
    return bool(level)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors as safetensors, with JSON values in its header."""
    from safetensors.torch import save

    # Tied weights are stored twice: safetensors refuses shared memory, and a copy costs less than a special case.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    try:
        content = save(plain, {key: json.dumps(value) for key, value in (metadata or {}).items()})
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # what the library raises if there is no memory for the result
            raise
        raise MemoryError(f"no memory to store {shown(path)}") from None
    # The library writes metadata in random order; sorted, equal contents are equal bytes.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    atomic_write(path, len(text).to_bytes(8, "little") + text + content[8 + length :])


def load_tensors(path: Path, only: Container[str] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON header of a safetensors file.

    Args:
        path: of the file.
        only: names of the tensors to read; None reads all.

    Raises:
        InputError: the file is missing, truncated or not safetensors.
        MemoryError: it does not fit into memory.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = {key: _json_or_text(value) for key, value in (file.metadata() or {}).items()}
            names = [key for key in file.keys() if only is None or key in only]  # noqa: SIM118 (not a mapping)
            return {key: file.get_tensor(key) for key in names}, header
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        if is_shortage(error):
            raise MemoryError(f"no memory to read {shown(path)}") from None
        raise InputError(
            f"{shown(path)}: expected a safetensors file, got {error}; recreate it or name another"
        ) from error


@contextmanager
def told_damaged(path: Path) -> Iterator[None]:
    """Tell of a file of weights from which the block cannot rebuild a network: a header or a tensor was changed.

    Raises:
        InputError: instead of whatever the block raises because of that.
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"{shown(path)} is damaged: {shown(reason)}; train again or copy it again") from None


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def save_seeds(path: Path, seeds: SeedMaps, made_by: str = "") -> None:
    """Store seeds as 8-bit maps on their strided grid, compressed."""
    atomic_write(path, seeds_npz(seeds, made_by))


def seeds_npz(seeds: SeedMaps, made_by: str = "") -> bytes:
    """Seeds as 8-bit maps on their strided grid, compressed."""
    buffer = io.BytesIO()
    scaled: dict[str, Any] = (
        {} if seeds.photograph is None else {"photograph": np.array(seeds.photograph, dtype=np.int32)}
    )
    np.savez_compressed(
        buffer,
        classes=np.array(seeds.classes, dtype=np.int16),
        maps=(seeds.maps.clamp(0, 1) * 255).round().byte().cpu().numpy(),
        size=np.array(seeds.size, dtype=np.int32),
        scores=np.array(seeds.scores, dtype=np.float32),
        made_by=np.array(made_by),
        **scaled,
    )
    return buffer.getvalue()


_PARSING = threading.Lock()
"""Held while numpy parses the header of an array with ``ast.literal_eval``, which in CPython 3.11 occasionally fails
when two threads call it at once (SystemError: AST constructor recursion depth mismatch)."""


BROKEN_ARRAYS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
"""Exceptions of :func:`read_arrays` for a broken file."""
_LARGEST_ARRAY = 2 * 1024**3
"""Most bytes that an array in an npz file may claim: a few kilobytes can claim terabytes."""


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file by name, without pickled objects; thread-safe.

    Args:
        path: the file.
        names: arrays that it has to contain.
        optional: others, which are left out of the result if it does not.

    Raises:
        InputError: the file is missing or no regular file.
        OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error: it is broken, or lacks an array.
    """
    with _archive(path) as file:
        names = [*names, *(name for name in optional if name in file.files)]
        for name in names:
            shape, dtype, stored = _claimed(file, name)
            claimed = math.prod(shape) * dtype.itemsize
            if claimed > _LARGEST_ARRAY:
                raise ValueError(f"{name} of shape {_few(shape)}, more than {_LARGEST_ARRAY / 1e6:,.0f} MB")
            if claimed > stored:
                raise ValueError(f"{name} of shape {_few(shape)}, which is more than there is")
        arrays = {name: file[name] for name in names}
    for name, array in arrays.items():
        if array.dtype.kind == "U" and array.nbytes and _beyond_unicode(array):
            raise ValueError(f"{name} with characters that do not exist")
    return arrays


def _beyond_unicode(array: NDArray[Any]) -> bool:
    """Whether text holds numbers of no character, on which every reading of it fails (SystemError)."""
    points = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    return bool((points > sys.maxunicode).any())


def array_header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type that an array of an npz file claims; raises as :func:`read_arrays`."""
    with _archive(path) as file:
        shape, dtype, _ = _claimed(file, name)
        return shape, dtype


@contextmanager
def _archive(path: Path) -> Iterator[Any]:
    """An opened npz; whatever numpy raises for damaged or hostile bytes is among :data:`BROKEN_ARRAYS`."""
    try:
        with open_regular(path) as opened, _PARSING, np.load(opened, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("a single array instead of an archive of arrays")
            yield file
    except (InputError, MemoryError, *BROKEN_ARRAYS) as error:
        if is_shortage(error) and not isinstance(error, MemoryError):
            raise MemoryError(f"no memory to read {shown(path)}") from None
        raise
    except Exception as error:  # a header is parsed as Python, which fails in many ways
        raise ValueError(f"a damaged array ({type(error).__name__})") from None


def _claimed(file: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and type that an array claims, and the bytes that there are."""
    stored: int = file.zip.getinfo(f"{name}.npy").file_size
    with file.zip.open(f"{name}.npy") as array:
        old = np.lib.format.read_magic(array) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(array)
    return shape, dtype, stored


def _few(shape: tuple[int, ...]) -> str:
    """A shape for a message, shortened."""
    text = str(shape)
    return text if len(text) <= 60 else f"{text[:57]}..."


def load_seeds(path: Path) -> SeedMaps:
    """Seeds that :func:`save_seeds` stored; values are multiples of 1/255.

    Raises:
        InputError: the file is missing or broken.
    """
    import torch

    try:
        file = read_arrays(path, ("classes", "maps", "size", "scores"), ("photograph",))
        _check_seeds(file)
        return SeedMaps(
            classes=tuple(int(c) for c in file["classes"]),
            maps=torch.from_numpy(file["maps"]).float() / 255,
            size=(int(file["size"][0]), int(file["size"][1])),
            scores=tuple(float(s) for s in file["scores"]),
            photograph=(int(full[0]), int(full[1])) if (full := file.get("photograph")) is not None else None,
        )
    except UnreadableError:
        raise
    except BROKEN_ARRAYS as error:
        raise InputError(f"{shown(path)}: expected stored seeds, got {error}; remove the file and run again") from error


def _check_seeds(file: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError if arrays are not those of stored seeds."""
    classes, maps = file["classes"], file["maps"]
    for name, kinds, dimensions in (("classes", "iu", 1), ("maps", "u", 3), ("size", "iu", 1), ("scores", "f", 1)):
        array = file[name]
        if array.dtype.kind not in kinds or array.ndim != dimensions:
            raise ValueError(f"{name} of type {array.dtype} and shape {_few(array.shape)}")
    if len(maps) != len(classes) or file["size"].shape != (2,) or maps.dtype != np.uint8:
        raise ValueError(f"maps {_few(maps.shape)} of {maps.dtype} for {len(classes)} classes")


def carries(path: Path, key: str) -> bool:
    """Whether a file says that it belongs to the stage with this key: seeds, a mask, statistics of maps or tensors."""
    try:
        if path.suffix == ".npz":
            return str(read_arrays(path, ("made_by",))["made_by"]) == key
        if path.suffix == ".png":
            return read_png(path, decode=False).info.get("deft-key") == key
        if path.suffix == ".json":
            found = read_json(path)
            return isinstance(found, dict) and found.get("made_by") == key
        return path.suffix == ".safetensors" and load_tensors(path, only=())[1].get("made_by") == key
    except (InputError, *BROKEN_ARRAYS):
        return False


def stored_seeds(paths: Sequence[Path]) -> Callable[[int], SeedMaps]:
    """Function that loads the seeds of image ``i`` from ``paths[i]``."""
    return lambda index: load_seeds(paths[index])


def mask_png(mask: NDArray[np.uint8], made_by: str = "") -> bytes:
    """A mask (H, W) as a palette PNG; mask values are palette indices."""
    from PIL import Image, PngImagePlugin

    image = Image.fromarray(mask)
    image.putpalette(palette().tobytes())
    note = PngImagePlugin.PngInfo()
    if made_by:
        note.add_text("deft-key", made_by)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=note)
    return buffer.getvalue()


def save_mask(path: Path, mask: NDArray[np.uint8], made_by: str = "") -> None:
    """Write a mask (H, W) as a palette PNG."""
    atomic_write(path, mask_png(mask, made_by))


def load_mask(path: Path) -> NDArray[np.uint8]:
    """The values of a palette PNG, (H, W).

    Raises:
        InputError: the file is missing or broken.
    """
    return np.array(read_png(path), dtype=np.uint8)
