"""Models of transformers none of whose weights is missing.

For a weight that the files of a model lack, or have under another name, transformers takes a random one and prints a
table. Here such a model is refused: before a run by the headers of its files, and again when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from deft.artifacts import read_json
from deft.backbone.from_transformers import from_transformers
from deft.contracts import InputError
from deft.guards.opening import check_regular, exists
from deft.guards.words import first_line, shown

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHOWN = 3
"""Number of weights that a message lists."""


def weight_files(folder: Path, field: str) -> list[Path]:
    """The files with the weights of a model, one or those that its index names.

    Args:
        folder: as transformers writes it.
        field: the setting that names it, for messages.

    Raises:
        InputError: there are none as safetensors, or the index is none.
    """
    if exists(folder / _WHOLE):
        return [folder / _WHOLE]
    if not exists(folder / _INDEX):
        raise InputError(
            f"{field}: {shown(folder)}: found no weights, {_WHOLE}; other formats are not read. Download it, or have "
            "transformers write the model again"
        )
    index = read_json(folder / _INDEX)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise InputError(
            f"{field}: {shown(folder / _INDEX)}: expected an index as transformers writes it, got other JSON; download "
            "it again"
        )
    return [folder / name for name in sorted(set(places.values()))]


def check_weights(kind: Any, config: Any, folder: Path, field: str, what: str) -> None:
    """Refuse a model some of whose weights are missing or have another shape, by the headers of its files.

    transformers is given weights of the same names and shapes that take no memory, and says what it finds.

    Args:
        kind: class of transformers.
        config: its settings.
        folder: as transformers writes it.
        field: the setting that names it, for messages.
        what: what needs transformers, for the message where it is missing.

    Raises:
        InputError: names some of them; or the files cannot be read.
    """
    given = getattr(config, "dtype", None)
    zero = torch.zeros((), dtype=given if isinstance(given, torch.dtype) else torch.float32)
    state = {name: zero.expand(shape) for name, shape in _shapes(folder, field).items()}
    _loaded(kind, None, folder, field, what, config=config, state_dict=state)


def load_whole(kind: Any, folder: Path, field: str, what: str) -> Any:
    """The model of a folder, with all of its weights; arguments as for :func:`check_weights`.

    Raises:
        InputError: transformers cannot load it, or weights are missing or have another shape.
    """
    return _loaded(kind, str(folder), folder, field, what, local_files_only=True, use_safetensors=True)


def _loaded(kind: Any, source: str | None, folder: Path, field: str, what: str, **options: Any) -> Any:
    try:
        with _quiet(what):
            model, found = kind.from_pretrained(
                source, output_loading_info=True, ignore_mismatched_sizes=True, **options
            )
    except InputError:
        raise
    except Exception as error:  # of any kind, from several libraries
        raise _broken(field, folder, error) from None
    _refuse_other_weights(found, kind.__name__, f"{field}: {shown(folder)}")
    return model


def _broken(field: str, folder: Path, error: Exception) -> InputError:
    return InputError(
        f"{field}: transformers cannot load the model of {shown(folder)} ({shown(first_line(error))}); download it "
        "again, or name another one, with safetensors"
    )


def _refuse_other_weights(found: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse what transformers says of the weights that it found."""
    missing = sorted(map(str, found["missing_keys"]))
    misfit = sorted(str(one if isinstance(one, str) else one[0]) for one in found["mismatched_keys"])
    if not missing and not misfit:
        return
    other = sorted(map(str, found["unexpected_keys"]))
    faults = [f"without {len(missing)} of them ({_few(missing)})"] if missing else []
    faults += [f"with another shape of {len(misfit)} ({_few(misfit)})"] if misfit else []
    faults += [f"with {len(other)} that it does not have ({_few(other)})"] if other else []
    raise InputError(
        f"{where}: expected files with all weights of a {kind}, got files {' and '.join(faults)}; download the whole "
        "model again or, if another program wrote it, load it there and have transformers' save_pretrained write it"
    )


def _few(names: list[str]) -> str:
    return shown(", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else ""))


def _shapes(folder: Path, field: str) -> dict[str, tuple[int, ...]]:
    """Shape of every weight by its name, from the headers of the files."""
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder, field):
        check_regular(path)
        try:
            with safe_open(str(path), "pt") as file:
                found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # the library raises its own
            raise _broken(field, folder, error) from None
    return found


@contextmanager
def _quiet(what: str) -> Iterator[None]:
    """Within, transformers prints no table of weights and no bar: what is wrong with them becomes one message."""
    log = from_transformers("logging", what)
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
