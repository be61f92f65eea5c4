"""Images and their tags: layouts on disk, a rendered set, checks of the user's files, and training crops.

``open_data("voc:PATH")`` gives the splits of a data set, ``check("voc:PATH")`` names each fault in its files, and
:class:`ImageDataset` makes a data set of a function.
"""

from __future__ import annotations

from deft.data.check import check
from deft.data.faults import Fault
from deft.data.labels import multi_hot
from deft.data.opening import open_data
from deft.data.own import ImageDataset

__all__ = ["Fault", "ImageDataset", "check", "multi_hot", "open_data"]
