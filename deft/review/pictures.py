"""Pictures of an image for the page: photograph, thumbnail, masks and superpixels, as the bytes of their files.

Photographs are decoded at the size that is shown (JPEGs by libjpeg's scaling) and written anew, so that no metadata of
the user's files and no bytes that they hold reach the browser.
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft.artifacts import mask_png
from deft.contracts import InputError
from deft.data.images import Scaled
from deft.data.scaling import resized_mask
from deft.data.working_size import scaled_sample
from deft.export.source import PREDICTIONS, PSEUDO
from deft.guards.words import shown
from deft.predict.masks import Predictor, load, recorded_side
from deft.report.overlay import overlay
from deft.review.maps import KINDS, maps_of, own_threshold
from deft.review.session import EDIT_SIDE, Session
from deft.review.superpixels import superpixels
from deft.seedmaps import full_mask

MASK, NETWORK = "mask", "network"
THUMBNAIL = 256
"""Longer side of a thumbnail, in pixels."""
_MOST_BYTES = 64_000_000
"""Bytes of thumbnails that are kept: those of some 5,000 images."""
_QUALITY = 90


class Kept:
    """The files made last, up to a number of bytes. Thread-safe."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self.most = most
        self._files: OrderedDict[object, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], bytes]) -> bytes:
        """The file of a key, made if it is not kept."""
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        made = make()
        with self._lock:
            if key not in self._files:
                self._files[key] = made
                self._bytes += len(made)
            while self._bytes > self.most:
                _, dropped = self._files.popitem(last=False)
                self._bytes -= len(dropped)
        return made


class Pictures:
    """The pictures of a run that is being reviewed. Thread-safe.

    Every method takes the id of an image and raises LookupError if there is none, and InputError if a file that it
    needs is missing or damaged.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._kept = Kept()
        # Photographs of many megapixels are decoded at once only as often as there are cores.
        self._decoding = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
        self._network = threading.Lock()
        self._loaded: tuple[int, Predictor] | None = None
        """The number of a round, and its network."""

    def photograph(self, number: int) -> bytes:
        """A JPEG at the size at which the mask is edited."""
        return _jpeg(self._pixels(number, EDIT_SIDE))

    def thumbnail(self, number: int, with_mask: bool = False) -> bytes:
        """A small JPEG, with the mask drawn over it if asked for."""
        plain = self._kept.get(number, lambda: _jpeg(self._pixels(number, THUMBNAIL)))
        if not with_mask:
            return plain
        journal, made = self.session.gallery.journal(number), self.session.round  # before anything of the round is read

        def covered() -> bytes:
            pixels = np.array(Image.open(io.BytesIO(plain)))
            mask = resized_mask(self.session.mask(number, journal), (pixels.shape[0], pixels.shape[1]))
            return _jpeg(overlay(pixels, mask))

        return self._kept.get((number, made, journal.now.mask), covered)

    def layer(self, number: int, name: str) -> bytes:
        """A palette PNG at the size at which the mask is edited.

        Args:
            number: id of the image.
            name: ``mask``, ``pseudo``, ``refined``, ``seeds`` or ``network``.
        """
        item, size = self.session.item(number), self.session.edit_size(number)
        made, source = self.session.round, self.session.source  # in this order: it never takes new files for old ones
        if name == MASK:
            mask = self.session.mask(number)
        elif name == PSEUDO and source.stage_mask(PSEUDO, item) is not None:
            mask = source.mask(PSEUDO, item)
        elif name == NETWORK and source.stage_mask(PREDICTIONS, item) is not None:
            mask = source.mask(PREDICTIONS, item)
        elif name == NETWORK and source.stage("segment") is not None:
            return self._kept.get(
                (number, made, NETWORK), lambda: mask_png(resized_mask(self._predicted(number, made), size))
            )
        elif name in KINDS:
            maps = maps_of(source, name, item)
            if maps.full_size != size:
                maps = replace(maps, photograph=None if size == maps.size else size)
            threshold = own_threshold(source, name)
            if threshold is None:
                raise InputError(f"the run has recorded no threshold of its {name}; repeat the deft run command")
            mask = full_mask(maps, threshold)
        else:
            raise InputError(f"{shown(item.name)!r} has no layer {shown(name[:60])!r}; choose another")
        return mask_png(resized_mask(mask, size))

    def superpixels(self, number: int, cells: int) -> bytes:
        """Labels of superpixels, a PNG whose red, green and blue are their lowest, middle and highest byte.

        Args:
            number: id of the image.
            cells: about how many.
        """

        def made() -> bytes:
            labels = superpixels(self._pixels(number, EDIT_SIDE), cells)
            coded = np.stack([labels & 255, labels >> 8 & 255, labels >> 16 & 255], axis=-1).astype(np.uint8)
            return _saved(Image.fromarray(coded), format="PNG", compress_level=1)

        return self._kept.get((number, "superpixels", cells), made)

    def _pixels(self, number: int, side: int) -> NDArray[np.uint8]:
        item = self.session.item(number)
        with self._decoding:
            return scaled_sample(self.session.source.parts[item.part], item.index, side).image

    def _predicted(self, number: int, made: int) -> NDArray[np.uint8]:
        """The mask (H, W) that the network of a round makes of a training image; one at a time."""
        item = self.session.item(number)
        with self._network:
            source = self.session.source
            if self._loaded is None or self._loaded[0] != made:
                self._loaded = made, load(source.folder)
            sample = scaled_sample(source.parts[item.part], item.index, recorded_side(source.folder))
            return self._loaded[1].mask_of(Scaled(sample.image, sample.full_size)).mask


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return _saved(Image.fromarray(pixels), format="JPEG", quality=_QUALITY)


def _saved(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()
