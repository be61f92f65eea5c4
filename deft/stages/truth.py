"""Ground truth as scores need it: a mask that cannot be used is left out and named, instead of ending the run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deft.contracts import Dataset, HidesTruth, Sample
from deft.data.sound import truth_fault


def usable_truth(data: Dataset, left_out: dict[str, str] | None = None) -> Dataset:
    """The same images and tags, with masks that fit, or none.

    Scoring follows hours of training, and one bad mask must not cost them. If a mask cannot be read, or has another
    size than its image or values that are no class, its image has no mask here. An image that cannot be read without
    its mask, because the dataset offers no way to, has no pixels either: (0, 0, 3).

    Args:
        data: the dataset.
        left_out: receives what is wrong with the masks that are left out, by the names of their images.
    """
    return _UsableTruth(data, {} if left_out is None else left_out)


class _UsableTruth:
    def __init__(self, data: Dataset, left_out: dict[str, str]) -> None:
        self._data, self._left_out = data, left_out
        self.classes, self.contexts, self.names, self.labels = data.classes, data.contexts, data.names, data.labels
        self.context_labels, self.scored, self.groups = data.context_labels, data.scored, data.groups

    def fingerprint(self) -> str:
        return self._data.fingerprint()

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Sample:
        try:
            sample = self._data[index]
        except MemoryError:
            raise
        except Exception as error:  # of a reader, or of code of the user's
            return self._without(self._bare(index), str(error) or type(error).__name__)
        for truth, classes in ((sample.mask, self.classes), (sample.context, self.contexts)):
            if truth is not None and (wrong := truth_fault(truth, sample.full_size, len(classes))):
                return self._without(sample, wrong)
        return sample

    def _bare(self, index: int) -> Sample:
        if isinstance(self._data, HidesTruth):
            return self._data.without_truth()[index]
        return Sample(self.names[index], np.empty((0, 0, 3), dtype=np.uint8), self.labels[index].copy())

    def _without(self, sample: Sample, wrong: str) -> Sample:
        self._left_out[sample.name] = wrong
        return replace(sample, mask=None, context=None)
