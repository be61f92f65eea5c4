"""The order of suggestions: the most gain first, where every image of a class makes the next one worth less.

The gain of a set of images is a sum over the classes, because mIoU is a mean over them: the expected error of a class
times the logarithm of 1 + the doubt about the class that these images cover, in typical images. It is submodular, so
that the greedy choice is close to the best set (Nemhauser et al., 1978), and a gain that was computed for a smaller set
is an upper bound for a larger one (Minoux, 1978): few of them have to be computed again.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

RAREST = 0.002
"""Smallest area of a class as a share of the largest one's, so that a class of a few cells does not outweigh all."""
SCENE = 0.25
"""Weight of an unusual scene that nobody has looked at, as a multiple of the mean error of a class."""


def errors(wrong: NDArray[np.floating], area: NDArray[np.floating]) -> NDArray[np.float64]:
    """What each image adds to the expected error of each class, relative to the area of the class, (N, K + 1).

    Args:
        wrong: expected wrong share of each image by class, (N, K + 1).
        area: share of each image by class, (N, K + 1).
    """
    total = area.sum(axis=0)
    found: NDArray[np.float64] = wrong / np.maximum(np.maximum(total, RAREST * total.max()), 1e-12)
    return found


class Gain:
    """Gain of adding an image to a set.

    Args:
        error: as of :func:`errors`, (N, C).
        scenes: number of each image's unusual scene, -1 if it has none, (N,).
        factor: what an image's gain is multiplied by, (N,).
    """

    def __init__(self, error: NDArray[np.float64], scenes: NDArray[np.intp], factor: NDArray[np.float64]) -> None:
        total = error.sum(axis=0)
        self.need = total / (1 + total)  # wrong pixels over those of the union, as in IoU
        shown = np.maximum((error > 0).sum(axis=0), 1)
        typical = np.maximum(total / shown, 1e-12)
        self.unit = error / typical
        self.scenes, self.factor = scenes, factor
        self.scene = SCENE * float(self.need.mean())
        self.covered = np.zeros(error.shape[1])
        self.visited = np.zeros(scenes.max(initial=-1) + 1)

    def by_class(self, image: int) -> NDArray[np.float64]:
        """Gain for each class, (C,)."""
        gained: NDArray[np.float64] = self.need * np.log1p(self.unit[image] / (1 + self.covered))
        return gained

    def by_scene(self, image: int) -> float:
        """Gain from an unusual scene."""
        scene = self.scenes[image]
        return 0.0 if scene < 0 else self.scene * float(np.log1p(1 / (1 + self.visited[scene])))

    def of(self, image: int) -> float:
        """The whole gain."""
        return float(self.factor[image]) * (float(self.by_class(image).sum()) + self.by_scene(image))

    def add(self, image: int) -> None:
        """Add an image to the set."""
        self.covered += self.unit[image]
        if self.scenes[image] >= 0:
            self.visited[self.scenes[image]] += 1


def greedy(gain: Gain, candidates: list[int], number: int) -> list[tuple[int, float]]:
    """The images in order with the gain of each when it is chosen; they are added to the set of ``gain``."""
    heap = [(-gain.of(image), image, 0) for image in candidates]
    heapq.heapify(heap)
    found: list[tuple[int, float]] = []
    while heap and len(found) < number:
        bound, image, known = heapq.heappop(heap)
        if known == len(found):
            gain.add(image)
            found.append((image, -bound))
        else:
            heapq.heappush(heap, (-gain.of(image), image, len(found)))
    return found
