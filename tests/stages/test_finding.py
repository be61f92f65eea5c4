from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deft.artifacts import Stage
from deft.engine.share import Share
from deft.recipes import amn
from deft.stages.context import Run
from deft.stages.finding import find_share
from deft.stages.make import make_all
from fakes import begun
from short import tiny

Begin = Callable[..., Run]


class Kept:
    """Makes files like a run of one process, and keeps the shares with their stages."""

    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}

    def make(self, share: Share) -> None:
        self.shares[share.title] = share
        share.make(share.missing())


@pytest.fixture
def done(begin: Begin) -> tuple[Run, dict[str, Share]]:
    """A run of every kind of share, and the shares that it made."""
    run, kept = begin(tiny(amn(), "precision=32-true")), Kept()
    run.engine = kept
    make_all(run)
    return run, kept.shares


def test_every_share_of_a_run_is_found_again_and_makes_the_same_files(done: tuple[Run, dict[str, Share]]) -> None:
    run, shares = done
    titles = ["first maps", "confident labels", "seeds (train)", "seeds (val)", "refined maps", "pseudo-masks"]
    assert set(shares) == {*titles, "predictions (val)"}
    for title, share in shares.items():
        trained = share.folder / "model.safetensors"
        kept = trained.read_bytes() if trained.exists() else b""
        trained.unlink(missing_ok=True)  # these shares are worked on before the stage has trained
        found = find_share(run, run.stored(share.folder.relative_to(run.out.path).as_posix()), title)
        assert (found.title, found.folder, found.paths) == (title, share.folder, share.paths)
        assert (found.on_device, found.read) == (share.on_device, share.read)
        assert not trained.exists()
        path = share.paths[2]
        before = path.read_bytes()
        path.unlink()
        found.make(found.missing())
        assert path.read_bytes() == before
        if kept:
            trained.write_bytes(kept)


@pytest.mark.parametrize("name", ["masks", "classifier", "seeds"])
def test_a_share_that_there_is_not(name: str, done: tuple[Run, dict[str, Share]], tmp_path: Path) -> None:
    run, _ = done
    stage: Stage = begun(run.out.path, name)
    with pytest.raises(ValueError, match=f"expected a share of the stage '{name}', got 'other'"):
        find_share(run, stage, "other")
