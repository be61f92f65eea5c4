"""The files of a run as they are, for as long as it makes its next round: people go on with the masks that they see.

Files of a run are replaced and never changed, so that a hard link keeps what a file held; where the disk has none it is
copied. The folder lies in the run's review, ``RUN/review/.part-before-...``, and is removed when the round is there. If
the process is killed it stays, until a later command removes what killed processes have left.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from deft.artifacts.review import FOLDER
from deft.artifacts.stage import RECORD, link_files
from deft.guards.opening import exists
from deft.guards.output import make_folder, refuse_link

MAPS = ("masks", "refined", "seeds")
NETWORK = ("predictions", "segment")
STAGES = (*MAPS, *NETWORK)
"""What the page shows, and the network that makes a layer of it."""


def snapshot(run: Path, network: Path | None = None) -> Path:
    """Keep the record of a run and the stages that the page reads.

    Args:
        run: its folder.
        network: the snapshot whose network and predictions are kept, while those of the run are being made.

    Raises:
        OSError: they cannot be linked or copied, for one because another command is at work in the run.
        InputError: the review is a link.
    """
    review = run / FOLDER
    refuse_link(review)
    make_folder(review, "review")
    folder = Path(tempfile.mkdtemp(prefix=".part-before-", dir=review))
    try:
        shutil.copy2(run / "run.json", folder / "run.json")
        for name in STAGES:
            source = network if network is not None and name in NETWORK else run
            if exists(source / name / RECORD):
                link_files(source / name, folder / name)
        return folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
