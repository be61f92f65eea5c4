"""All readers that are fuzzed, by name."""

from __future__ import annotations

from fuzz import arrays, exports, folders, labels, large, pictures, records
from fuzz.reader import Reader

READERS: dict[str, Reader] = {
    reader.name: reader
    for family in (labels, exports, arrays, folders, records, pictures, large)
    for reader in family.READERS
}
