"""A run to review, made once and copied for each test that changes it, servers of it, and one browser for the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deft.review.serve import opened
from deft.review.session import Session
from review_runs import Client, served, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

    from driven_page import Driven


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, voc_data: Path) -> Path:
    """A finished run with maps, on 8 training and 4 held-out images of 64 x 64 pixels; read only."""
    return write_run(tmp_path_factory.mktemp("review") / "run", f"voc:{voc_data}")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def session(run: Path) -> Session:
    """An opened run, to be changed."""
    return opened(run)


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[Client]:
    """Asks a server of the run that is read only."""
    with served(made) as found:
        yield found


@pytest.fixture(scope="module")
def changed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Asks a server of a run that all tests of a module change, each of them another image."""
    with served(Path(shutil.copytree(made, tmp_path_factory.mktemp("changed") / "run"))) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from driven_page import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def shared(browser: Browser) -> Iterator[BrowserContext]:
    """What the windows of a test share that ask for nothing of their own: changes that are kept in the browser, too."""
    from driven_page import LAPTOP

    context = browser.new_context(viewport=LAPTOP)
    yield context
    context.close()


@pytest.fixture
def window(browser: Browser, shared: BrowserContext, changed: Client) -> Iterator[Callable[..., Driven]]:
    """``window(image, **options)`` opens the page, with options in a context of its own; scripts may not fail."""
    from driven_page import Driven

    opened: list[Driven] = []
    with ExitStack() as closing:

        def window(image: int | None = None, **options: Any) -> Driven:
            context = browser.new_context(**options) if options else shared
            page = context.new_page()
            closing.callback(context.close if options else page.close)
            opened.append(Driven(page, changed).start(image))
            return opened[-1]

        yield window
        errors = [error for each in opened for error in each.errors]
    assert not errors
