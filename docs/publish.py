"""Put the site of one version beside those of others: ``publish.py SITE PAGES VERSION ADDRESS``.

PAGES is a folder that a web server shows at ADDRESS. It gets ``VERSION/``, ``versions.json``, from which every site
fills its menu of versions, and an ``index.html`` that leads to the newest.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

ENTRANCE = '<!doctype html><meta charset="utf-8"><title>deft</title><meta http-equiv="refresh" content="0; url={}/">\n'


def order(version: str) -> tuple[int, ...]:
    """What versions are sorted by; only numbers with dots between them are versions."""
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        raise SystemExit(f"expected a version such as 0.2.0, got {version!r}")
    return tuple(int(number) for number in version.split("."))


def publish(site: Path, pages: Path, version: str, address: str) -> None:
    """Add the site of a version, or replace it."""
    order(version)
    if not (site / "index.html").is_file():
        raise SystemExit(f"expected a built site in {site}, found no index.html there; run `make docs`")
    shutil.rmtree(pages / version, ignore_errors=True)
    shutil.copytree(site, pages / version)
    listed = pages / "versions.json"
    known = {entry["version"] for entry in json.loads(listed.read_text("utf-8"))} if listed.is_file() else set()
    versions = sorted(known | {version}, key=order, reverse=True)
    entries = [{"name": name, "version": name, "url": f"{address}/{name}/"} for name in versions]
    entries[0] |= {"name": f"{versions[0]} (newest)", "preferred": True}
    listed.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (pages / "index.html").write_text(ENTRANCE.format(versions[0]), encoding="utf-8")
    (pages / ".nojekyll").touch()  # folders that begin with _ are to be served as well


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
