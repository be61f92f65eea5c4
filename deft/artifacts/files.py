"""Files of a run folder: JSON, tensors, seeds and masks, each written whole or not at all, none of them a pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError, SeedMaps

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
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON."""
    atomic_write(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, got {error}; remove the file and run again") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors as safetensors, with JSON values in its header."""
    from safetensors.torch import save

    # Tied weights are stored twice: safetensors refuses shared memory, and a copy costs less than a special case.
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    content = save(plain, {key: json.dumps(value) for key, value in (metadata or {}).items()})
    # The library writes metadata in random order; sorted, equal contents are equal bytes.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    atomic_write(path, len(text).to_bytes(8, "little") + text + content[8 + length :])


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON header of a safetensors file.

    Raises:
        InputError: the file is missing, truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = {key: _json_or_text(value) for key, value in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: expected a safetensors file, got {error}; recreate it or name another") from error


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def save_seeds(path: Path, seeds: SeedMaps, made_by: str = "") -> None:
    """Store seeds as 8-bit maps on their strided grid, compressed."""
    atomic_write(path, seeds_npz(seeds, made_by))


def seeds_npz(seeds: SeedMaps, made_by: str = "") -> bytes:
    """Seeds as 8-bit maps on their strided grid, compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        classes=np.array(seeds.classes, dtype=np.int16),
        maps=(seeds.maps.clamp(0, 1) * 255).round().byte().cpu().numpy(),
        size=np.array(seeds.size, dtype=np.int32),
        scores=np.array(seeds.scores, dtype=np.float32),
        made_by=np.array(made_by),
    )
    return buffer.getvalue()


_PARSING = threading.Lock()
"""Held while numpy parses the header of an array with ``ast.literal_eval``, which in CPython 3.11 occasionally fails
when two threads call it at once (SystemError: AST constructor recursion depth mismatch)."""


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays of an npz file by name, without pickled objects; thread-safe.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: the file is missing or broken, or lacks an array.
    """
    with _PARSING, np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


def load_seeds(path: Path) -> SeedMaps:
    """Seeds that :func:`save_seeds` stored; values are multiples of 1/255.

    Raises:
        InputError: the file is missing or broken.
    """
    import zipfile

    import torch

    try:
        file = read_arrays(path, ("classes", "maps", "size", "scores"))
        return SeedMaps(
            classes=tuple(int(c) for c in file["classes"]),
            maps=torch.from_numpy(file["maps"]).float() / 255,
            size=(int(file["size"][0]), int(file["size"][1])),
            scores=tuple(float(s) for s in file["scores"]),
        )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected stored seeds, got {error}; remove the file and run again") from error


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
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.array(image, dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: expected a mask, got {error}; remove the file and run again") from error
