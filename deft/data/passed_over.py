"""What a listing of photographs passes over: files of systems and programs, and formats that are not read."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field

from deft.data.faults import Faults, counted
from deft.data.images import SUFFIXES

_FOLDERS = frozenset(
    (
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "@sharebin", "@sharesnap", "#recycle"),
        *("#snapshot", "$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found"),
        *("__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder", "resource.frk"),
        *("__pycache__", "_vti_cnf", "cvs", "~snapshot", "lost.dir"),
    )
)
"""Folders of NAS, Windows, macOS, Linux, archives and programs, in lower case; hidden ones are passed over anyway."""
_FILES = re.compile(r"SYNO(?:PHOTO|INDEX|VIDEO|FILE)_|AlbumArt_\{|~\$", re.IGNORECASE)
"""Beginnings of the names of images that systems make from photographs."""
_UNMENTIONED = frozenset((".git", ".svn", ".hg", ".bzr", ".dvc", ".venv", ".idea", ".vscode", ".cache", ".datalad"))
"""Hidden folders in which nobody looks for photographs."""

UNREAD = frozenset(
    (
        *(".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".dng", ".orf", ".rw2", ".raf"),
        *(".pef", ".srw", ".x3f", ".3fr", ".fff", ".iiq", ".erf", ".kdc", ".dcr", ".mos", ".mef", ".mrw"),
        *(".raw", ".rwl", ".gpr", ".cap", ".psd", ".psb", ".xcf", ".kra", ".clip", ".ai", ".eps", ".svg"),
        *(".svgz", ".jxl", ".jpm", ".jxr", ".wdp", ".hdp", ".jls", ".exr", ".hdr", ".pic", ".dds", ".ktx"),
        *(".ico", ".icns", ".cur", ".ras", ".xbm", ".xpm", ".wbmp", ".flif", ".bpg", ".heics", ".avifs"),
        *(".pam", ".pfm", ".dcm", ".fits", ".fit", ".fts", ".nii", ".mha", ".ndpi", ".svs", ".czi", ".lif"),
        *(".nd2", ".vsi", ".emf", ".wmf", ".djvu", ".insp", ".afphoto"),
    )
)
"""Suffixes of pictures in formats that are not read, in lower case."""
_SHOWN = 3


@dataclass
class PassedOver:
    """Collects what a listing passes over, for one remark of each kind."""

    system: list[str] = field(default_factory=list)
    """Folders, and images outside of them."""
    closed: list[str] = field(default_factory=list)
    """Folders that may not be read, and links in circles."""
    special: list[str] = field(default_factory=list)
    """Pipes, sockets and devices."""
    unread: Counter[str] = field(default_factory=Counter)
    """Number of pictures in formats that are not read, by suffix."""

    def skips_folder(self, name: str, path: str) -> bool:
        """Whether a folder is passed over because of its name."""
        folded = name.casefold()
        skipped = name.startswith(".") or folded in _FOLDERS
        if skipped and folded not in _UNMENTIONED:
            self.system.append(path)
        return skipped

    def skips_file(self, name: str, path: str) -> bool:
        """Whether a file is passed over because of its name; counts pictures in formats that are not read."""
        hidden = name.startswith(".")
        suffix = os.path.splitext(name)[1].lower()
        if hidden or _FILES.match(name):
            if suffix in SUFFIXES:
                self.system.append(path)
            return True
        if suffix in UNREAD:
            self.unread[suffix] += 1
        return False

    def tell(self, root: str, faults: Faults) -> None:
        """Add a remark for each kind."""
        for paths, what, remedy in (
            (self.system, "hidden, or made by a system or program", "rename what you want to be read"),
            (self.closed, "which cannot be entered", "correct permissions or links"),
            (self.special, "no regular files", "move them elsewhere"),
        ):
            if paths:
                shown = ", ".join(repr(os.path.relpath(path, root)) for path in sorted(paths)[:_SHOWN])
                entries = counted(len(paths), "entry", "entries")
                faults.warn(root, None, f"{entries} left out, {what}: {shown}", remedy)
        if self.unread:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in self.unread.most_common())
            what = f"{counted(sum(self.unread.values()), 'picture')} in formats that are not read, left out ({kinds})"
            faults.warn(root, None, what, "save them as JPEG or PNG if they belong to the data")
