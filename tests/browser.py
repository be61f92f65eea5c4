"""What a browser would see of a page, and names that try to make it do more."""

from __future__ import annotations

from html.parser import HTMLParser

ATTACKS = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% for x in y %}",
    "evil\u202egnp.exe\x00\x1b",
    "javascript:alert(1)",
    "\udcff not unicode",
    "猫 кот Žluťoučký 🐈",
    "very long " * 100,
)


class Page(HTMLParser):
    """Collects what a browser would act upon."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "img", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def sources(self) -> list[str]:
        """What would be loaded."""
        return [value for name, value in self.attributes if name == "src"]
