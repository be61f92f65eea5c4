"""The only reader and writer of a run folder: every file is written whole or not at all, and none is a pickle.

A file is written beside its place, flushed to the disk and renamed, so that a kill or a full disk leaves the old
file or none. Each stage has a *key*, a hash of its settings and of the keys of all that went in; the key stands in
``stage.json`` and inside every file the stage made.

A run folder::

    run.json              recipe, settings, data and versions: what a second run in the folder must agree with
    lock                  held by the process that works in the folder
    <stage>/stage.json    key, state, seconds; beside it the stage's files
    round-<n>/            a run folder of an earlier round, where a method needs one (:class:`deft.augment.cda.Cda`)
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deft.contracts import InputError, SeedMaps
from deft.settings import flat, plain

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
    """A relative path without suffix for a sample's files: folders kept, odd characters percent-encoded.

    Distinct names give distinct stems. A part of more than 150 bytes is cut and told apart by its hash.
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
        OSError: as the system says, for example a full disk; the old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".part-{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # readable as the user's umask says
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
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
        InputError: when the file is not JSON.
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
    # The library writes metadata in a random order; equal contents shall be equal bytes.
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    atomic_write(path, len(text).to_bytes(8, "little") + text + content[8 + length :])


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON header of a safetensors file.

    Raises:
        InputError: when the file is missing, truncated or not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = {key: _json_or_text(value) for key, value in (file.metadata() or {}).items()}
            return {key: file.get_tensor(key) for key in file.keys()}, header  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: expected a safetensors file, got {error}; make it again or name another") from error


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


def load_seeds(path: Path) -> SeedMaps:
    """Seeds that :func:`save_seeds` stored; values are multiples of 1/255.

    Raises:
        InputError: when the file is missing or broken.
    """
    import zipfile

    import torch

    try:
        with np.load(path, allow_pickle=False) as file:
            return SeedMaps(
                classes=tuple(int(c) for c in file["classes"]),
                maps=torch.from_numpy(file["maps"]).float() / 255,
                size=(int(file["size"][0]), int(file["size"][1])),
                scores=tuple(float(s) for s in file["scores"]),
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected stored seeds, got {error}; remove the file and run again") from error


def mask_png(mask: NDArray[np.uint8], made_by: str = "") -> bytes:
    """A palette PNG of a mask, (H, W): its values are the palette's indices."""
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
        InputError: when the file is missing or broken.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.array(image, dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise InputError(f"{path}: expected a mask, got {error}; remove the file and run again") from error


@dataclasses.dataclass
class Stage:
    """One stage's folder inside a run."""

    name: str
    folder: Path
    key: str

    @property
    def record(self) -> dict[str, Any]:
        """What ``stage.json`` holds; empty when the stage never began or was made of something else."""
        path = self.folder / "stage.json"
        record = read_json(path) if path.exists() else {}
        return record if isinstance(record, dict) and record.get("key") == self.key else {}

    @property
    def done(self) -> bool:
        """Whether the stage was finished with this key."""
        return self.record.get("state") == "done"

    @contextmanager
    def making(self) -> Iterator[dict[str, Any]]:
        """Keep what a killed run left under the same key, make the rest, mark the stage done.

        Yields a mapping; what is put into it is kept in ``stage.json``. Seconds add up over interrupted runs.
        """
        before = self.record
        if not before and self.folder.exists():
            shutil.rmtree(self.folder)
        _sweep(self.folder)
        notes: dict[str, Any] = {}
        start, spent = time.monotonic(), float(before.get("seconds", 0.0))
        state = "begun"
        write_json(self.folder / "stage.json", {"key": self.key, "state": state, "seconds": spent})
        try:
            yield notes
            state = "done"
        finally:
            seconds = round(spent + time.monotonic() - start, 2)
            write_json(self.folder / "stage.json", {"key": self.key, "state": state, "seconds": seconds, **notes})

    def adopt(self, others: tuple[Path, ...]) -> bool:
        """Take over the finished stage of the same key from another run; False when none has it.

        Where the disk can, files are shared and not copied: a file is replaced and never written into, so that neither
        run can change the other's.
        """
        for other in others:
            source = Stage(self.name, other / self.name, self.key)
            if source.done:
                temporary = Path(tempfile.mkdtemp(prefix=".part-", dir=self.folder.parent))
                unfinished = shutil.ignore_patterns(".part-*")
                shutil.copytree(source.folder, temporary, ignore=unfinished, copy_function=_link, dirs_exist_ok=True)
                if self.folder.exists():
                    shutil.rmtree(self.folder)
                os.replace(temporary, self.folder)
                return True
        return False


def _sweep(folder: Path) -> None:
    """Remove what kills left half made; what is an hour old nobody is making any more, on any machine."""
    for path in [*folder.rglob(".part-*"), *folder.parent.glob(".part-*")]:
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _link(source: str, target: str) -> None:
    """A second name for the file, or a copy of it on a disk that has none (exFAT, some network shares)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class InUseError(InputError):
    """The run folder belongs to another process for now."""


class RunFolder:
    """A run folder that this process alone works in."""

    def __init__(self, path: Path, description: Mapping[str, Any], needed_bytes: int = 0, *, own: bool = True) -> None:
        """Open or begin a run.

        Args:
            path: the folder; made when missing.
            description: what the run is; a used folder must hold an equal one.
            needed_bytes: refused up front when the disk has less room.
            own: False only names a folder that another process holds, to help it: nothing is locked or written.

        Raises:
            InUseError: another process works in the folder.
            InputError: the folder holds a run of other settings, or files that are no run, or the disk is too small.
        """
        self.path = path
        self._lock: int | None = None
        if not own:
            return
        if path.exists() and not path.is_dir():
            raise InputError(f"--out {path}: expected a folder, got a file; name another place")
        record = path / "run.json"
        if path.exists() and not record.exists() and any(map(_foreign, path.iterdir())):
            raise InputError(
                f"--out {path}: expected an empty folder or an earlier run, got a folder with other files in it; "
                "name a new folder"
            )
        path.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
        if free < needed_bytes:
            raise InputError(
                f"--out {path}: this run may write {needed_bytes / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB "
                "left; make room or name a folder on another disk"
            )
        self._lock = _lock(path / "lock")
        if record.exists() and self._holds_work():
            self._refuse_other_settings(read_json(record), plain(description))
        else:
            write_json(record, plain(description))

    def _holds_work(self) -> bool:
        """Whether any stage made anything: a run that failed at its first step must not occupy the folder."""
        records = ("stage.json", "run.json", "lock")
        return any(
            path.is_file()
            and path.name not in records
            and ".part-" not in str(path.relative_to(self.path))
            and not path.parent.name.startswith("claims-")
            for path in self.path.glob("*/**/*")
        )

    def _refuse_other_settings(self, old: Any, new: Any) -> None:
        before, now = flat(old), flat(new)
        different = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
        # Versions are kept to be read, not to bind: a patch release must not make a run unfinishable.
        different = [key for key in different if not key.startswith("versions.")]
        if different:
            self.close()
            lines = [f"  {key}: {before.get(key)!r} in the folder, {now.get(key)!r} now" for key in different[:12]]
            more = [f"  and {len(different) - 12} more"] if len(different) > 12 else []
            way_out = "name another folder, or use the settings the folder was begun with"
            raise InputError("\n".join([f"--out {self.path} holds a run of other settings:", *lines, *more, way_out]))

    def stage(self, name: str, key: str) -> Stage:
        """The stage of that name and key."""
        return Stage(name, self.path / name, key)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            _unlock(self._lock)
            self._lock = None


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold a lock file for the length of the block.

    Raises:
        InUseError: another process holds it.
    """
    handle = _lock(path)
    try:
        yield
    finally:
        _unlock(handle)


def _foreign(path: Path) -> bool:
    """Whether a file of a folder without a record was not put there by a run that begins."""
    return path.name != "lock" and not path.name.startswith(".part-")


def _lock(path: Path) -> int:
    """Take the lock; the system lets go of it when the process ends, however it ends."""
    import fcntl

    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = os.read(handle, 200).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise InUseError(
            f"{path.parent} is in use by {owner}; wait until it has ended, stop it, or name another folder"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
    _held().add(handle)
    return handle


def _unlock(handle: int) -> None:
    _held().discard(handle)
    os.close(handle)


@cache
def _held() -> set[int]:
    """Locks of this process. One forked from it, to read for a training, must not hold them beyond its end."""
    held: set[int] = set()

    def let_go() -> None:
        while held:
            os.close(held.pop())

    os.register_at_fork(after_in_child=let_go)
    return held
