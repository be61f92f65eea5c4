"""JSON files of annotation tools: read whole, every fault named once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deft.data.faults import Faults
from deft.guards.opening import UnreadableError, read_regular

MAX_BYTES = 2_000_000_000
"""Largest file; COCO's annotations have 450 MB. Reading takes several times its size in memory."""


def read_json(path: Path, faults: Faults) -> Any:
    """The content of a file in UTF-8, UTF-16 or UTF-32; None and a fault if it cannot be read.

    Args:
        path: the file.
        faults: collects the fault, with its line if it has one.
    """
    try:
        content = json.loads(read_regular(path, MAX_BYTES))
    except UnreadableError as error:
        faults.add(path, None, error.what, error.remedy)
    except json.JSONDecodeError as error:
        faults.add(path, error.lineno, f"not valid JSON ({error.msg})", "export it again, or correct it at that line")
    except UnicodeDecodeError as error:
        faults.add(path, None, f"not valid JSON (its bytes are not {error.encoding})", "save it again as UTF-8")
    except RecursionError:
        faults.add(path, None, "not valid annotations: nested too deeply", "export it again")
    except ValueError as error:  # a number of thousands of digits
        faults.add(path, None, f"not valid annotations ({error})", "export it again")
    else:
        if content is None:
            faults.add(path, None, "expected annotations, got null", "export it again")
        return content
    return None
