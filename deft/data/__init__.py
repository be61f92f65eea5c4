"""Images and their tags: layouts on disk, a rendered dataset, checks of the user's files, and training crops.

``open_data("voc:PATH")`` opens the splits of a dataset, ``check("voc:PATH")`` lists the faults in its files, and
:class:`ImageDataset` makes a dataset from a function.
"""

from __future__ import annotations

from deft.data.check import check
from deft.data.faults import Fault
from deft.data.labels import multi_hot
from deft.data.opening import open_data
from deft.data.own import ImageDataset

__all__ = ["Fault", "ImageDataset", "check", "multi_hot", "open_data"]
