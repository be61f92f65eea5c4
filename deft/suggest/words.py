"""Why an image is suggested, in words."""

from __future__ import annotations

from dataclasses import dataclass

from deft.suggest.scenes import SCARCE, Scene

DISAGREE, UNTAGGED, CLOSE = 0.1, 0.05, 0.2
"""Shares of an image from which a disagreement, a class that is no tag, and doubtful scores are worth a word."""
MOST = 2
"""Most reasons of an image."""
_NUMBERS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Facts:
    """What is known of an image; shares in [0, 1]."""

    disagree: float
    close: float
    main: str
    """The class with the largest gain, or ``background``."""
    main_images: int
    """Number of training images of that class."""
    first: bool
    """Nobody has reviewed an image of that class, and none is suggested before this one."""
    untagged: tuple[str, float] = ("", 0.0)
    """The largest class in the network's mask that is no tag, and its share."""
    doubtful: tuple[str, bool] | None = None
    """A class whose tag is doubtful, and whether the tag is given."""
    scene: Scene | None = None


def reason(facts: Facts) -> str:
    """One line: at most two reasons, the most telling first."""
    found = []
    if facts.scene is not None:
        found.append(of_scene(facts.scene))
    if facts.doubtful is not None:
        name, given = facts.doubtful
        found.append(f"the tag {name} is doubtful" if given else f"the tag {name} may be missing")
    stranger, share = facts.untagged
    if share >= UNTAGGED:
        found.append(f"the network sees {stranger} on {_percent(share)}, which is no tag")
    if facts.disagree >= DISAGREE:
        found.append(f"mask and network disagree on {_percent(facts.disagree)} ({facts.main})")
    if facts.main_images < SCARCE and facts.main != "background":
        found.append(f"rare class: {facts.main}" + (", low margin" if facts.close >= CLOSE else ""))
    elif facts.close >= CLOSE:
        found.append(f"{_percent(facts.close)} close to the threshold" + ("" if found else f" ({facts.main})"))
    if not found:
        found.append(f"the first of {facts.main}" if facts.first else f"adds to {facts.main}")
    return "; ".join(found[:MOST])


def of_scene(scene: Scene) -> str:
    """Words for an unusual scene: ``cow on sand: the only three``."""
    pair = f"{scene.of} {scene.joined} {scene.companion}"
    if scene.count == 1:
        return f"{pair}: the only one"
    if scene.count < len(_NUMBERS):
        return f"{pair}: the only {_NUMBERS[scene.count]}"
    return f"{pair}: {scene.count} images"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
