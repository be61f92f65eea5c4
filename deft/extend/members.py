"""Checks that a user's object has the members a pipeline uses; made when settings are created, before any training.

Each ``check_...`` checks that the members listed in ``docs/extending.md`` exist, and that methods take the right number
of arguments; it calls none of them. Optional members are checked only if they exist.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deft.contracts import InputError


@dataclass(frozen=True)
class Member:
    """A member that an object must have."""

    name: str
    write: str
    """How to write it, for messages."""
    takes: int | None = None
    """Number of arguments it is called with; None if it is not called."""


SEED_METHOD = (Member("prepare", "def prepare(self, context): ..., which returns the function of one image", 1),)
REFINER = (
    Member("background", "background: Threshold = AUTO, the threshold at which its maps become masks"),
    Member("prepare", "def prepare(self, context): ..., which returns the function of one image and its seeds", 1),
)
HEAD = (Member("build", "def build(self, channels, classes): ..., which returns the module", 2),)
HEAD_OF_ALL_MAPS = (Member("build_on", "def build_on(self, channels, classes): ..., which returns the module", 2),)
AUGMENTATION = (Member("__call__", "def __call__(self, x, labels, rng): ..., which returns new x and labels", 3),)
SALIENT = "salient"
SALIENT_AUGMENTATION = (
    Member("__call__", "def __call__(self, x, labels, rng, gradients): ..., which returns new x and labels", 4),
)
LAYER = Member("layer", "def layer(self, layers, rng): ..., which returns the layer to augment", 2)
SAMPLE_AUGMENTATION = (
    Member("rounds", "rounds: int = 1, the number of previous rounds"),
    Member("earlier", "a property earlier, the augmentation of the previous round, or None"),
    Member("prepare", "def prepare(self, data, masks): ..., which returns the augmentation of one image", 2),
)
OPTIMISER = (
    Member("lr", "lr: float, the base learning rate"),
    Member("build", "def build(self, groups): ..., which returns a torch.optim.Optimizer", 1),
    Member("factor", "def factor(self, step, steps): ..., which returns the factor of lr", 2),
)
DATASET = (
    Member("classes", "classes, the names of the K classes, a tuple"),
    Member("contexts", "contexts, the names of the context classes, () if there are none"),
    Member("names", "names, one name per image, a tuple"),
    Member("labels", "labels, a bool array (N, K)"),
    Member("context_labels", "context_labels, a bool array (N, J), or None"),
    Member("scored", "scored, a bool array (N,): which images have a mask"),
    Member("groups", "groups, named subsets of the images, {} if there are none"),
    Member("fingerprint", "def fingerprint(self): ..., a string that changes when the data does", 0),
    Member("__len__", "def __len__(self): ..., the number of images", 0),
    Member("__getitem__", "def __getitem__(self, index): ..., which returns a deft.Sample", 1),
)


def check_seed_method(thing: object) -> None:
    """Raise InputError if it is not a seed method."""
    _settings("seeds", "a seed method", thing, SEED_METHOD)


def check_refiner(thing: object) -> None:
    """Raise InputError if it is not a refiner."""
    _settings("refine", "a refiner", thing, REFINER)


def check_head(thing: object) -> None:
    """Raise InputError if it is not a classifier head."""
    members = HEAD_OF_ALL_MAPS if hasattr(thing, "build_on") else ()
    _settings("classifier.head", "a classifier head", thing, (*HEAD, *members))


def check_augmentation(thing: object) -> None:
    """Raise InputError if it is neither an augmentation of batches nor one of whole images."""
    of_images = [member.name for member in SAMPLE_AUGMENTATION if hasattr(thing, member.name)]
    if of_images and not callable(thing):
        _settings("classifier.augment", "an augmentation of whole images", thing, SAMPLE_AUGMENTATION)
        return
    if hasattr(thing, SALIENT):
        if getattr(thing, SALIENT) is not True or hasattr(thing, LAYER.name):
            raise InputError(
                f"classifier.augment: expected an augmentation of images whose {SALIENT} is True, got "
                f"{type(thing).__name__} with {SALIENT} {getattr(thing, SALIENT)!r}"
                f"{' and layer' if hasattr(thing, LAYER.name) else ''}; leave one of them out (docs/extending.md)"
            )
        _settings("classifier.augment", "an augmentation", thing, SALIENT_AUGMENTATION)
        return
    members = (*AUGMENTATION, LAYER) if hasattr(thing, LAYER.name) else AUGMENTATION
    _settings("classifier.augment", "an augmentation", thing, members)


def check_optimiser(thing: object) -> None:
    """Raise InputError if it is not the settings of an optimiser."""
    _settings("plan.optimiser", "an optimiser", thing, OPTIMISER)


def check_dataset(where: str, thing: object) -> None:
    """Raise InputError if it is not a dataset.

    Args:
        where: its name, for the message.
        thing: the object to check; the values of its members are not checked.
    """
    _members(where, "a dataset", thing, DATASET, ", or use deft.ImageDataset, which needs only four arguments")


def _settings(where: str, what: str, thing: object, members: Sequence[Member]) -> None:
    """Check an object whose fields are settings."""
    _members(where, what, thing, members)
    if not dataclasses.is_dataclass(thing):
        raise InputError(
            f"{where}: expected {what} that is a dataclass, got {type(thing).__name__}, which is not; write "
            "@dataclass(frozen=True) above it: its fields are the settings stored in the run's record and keys"
        )


def _members(where: str, what: str, thing: object, members: Sequence[Member], or_else: str = "") -> None:
    """Check that all members exist, and that methods can be called."""
    if isinstance(thing, type):
        raise InputError(f"{where}: expected {what}, got the class {thing.__name__} itself; write {thing.__name__}()")
    name = type(thing).__name__
    for member in members:
        there, value = _get(thing, member.name)
        if not there:
            raise InputError(
                f"{where}: expected {what}, but {name} has no {member.name}; add {member.write}{or_else} "
                "(docs/extending.md)"
            )
        if member.takes is None:
            continue
        if not callable(value):
            raise InputError(
                f"{where}: expected {what}, but {name}.{member.name} is {value!r}, which cannot be called; write "
                f"{member.write} (docs/extending.md)"
            )
        if not can_take(value, member.takes):
            raise InputError(
                f"{where}: expected {name}.{member.name} to take {member.takes} "
                f"argument{'' if member.takes == 1 else 's'}, got "
                f"{member.name}{inspect.signature(value)}; write {member.write} (docs/extending.md)"
            )


def _get(thing: object, name: str) -> tuple[bool, Any]:
    """Whether an object has a member, and its value."""
    try:
        return True, getattr(thing, name)
    except AttributeError:
        if any(name in vars(kind) for kind in type(thing).__mro__):
            raise  # it exists, and its own code failed
        return False, None


def can_take(function: Any, count: int) -> bool:
    """Whether a function can be called with this number of arguments; True if it has no signature to inspect."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:
        return True
    return True
