"""``deft review RUN``: a server on this machine for as long as somebody reviews; the door to Uvicorn."""

from __future__ import annotations

import errno
import os
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from deft.artifacts.record import run_record
from deft.contracts import InputError
from deft.export.source import Source
from deft.guards.words import printable, shown
from deft.review.app import build
from deft.review.guard import Guard, new_token
from deft.review.leaflet import require_leaflet
from deft.review.learning import Learning, learns
from deft.review.order import suggested
from deft.review.session import Session

if TYPE_CHECKING:
    from uvicorn import Server

HOST = "127.0.0.1"
PORT = 8765
"""The port unless one is asked for; the next free one if it is taken."""
_TRIED = 20
_SECONDS_TO_END = 3


def review(
    run: Path, port: int | None = None, data: str | None = None, begun: Callable[[str], None] = lambda address: None
) -> None:
    """Serve the page of a run until somebody stops it there, or with Ctrl-C.

    Args:
        run: the run folder, which need not be finished, but needs masks.
        port: None takes the first free one from :data:`PORT` on.
        data: as for :func:`deft.runner.recorded.reopen`.
        begun: called with the page's address as soon as it answers.

    Raises:
        InputError: the folder holds no run with masks, its data cannot be used, the port is taken, or the extra is
            not installed.
        KeyboardInterrupt: Ctrl-C.
    """
    require_leaflet()
    session = opened(run, data)
    with closing(listening(port)) as taken, learning_of(session) as learning:
        server, address = prepared(session, taken, learning=learning)
        Thread(target=_rank, args=(session,), name="deft-order", daemon=True).start()
        begun(address)
        server.run(sockets=[taken])


def opened(run: Path, data: str | None = None) -> Session:
    """Open a run to review it; raises as :func:`review`."""
    run_record(run)
    try:
        source = Source.of(run, data)
    except InputError as error:
        if data is not None or "--data" in str(error):
            raise
        raise InputError(f"{error}\nif the photographs have moved, say with --data where they are now") from None
    if not any(source.own(item) for item in source.items.values()):
        raise InputError(f"{shown(run)}: expected a run with masks, found none; finish it with deft run")
    return Session(source)


def listening(port: int | None) -> socket.socket:
    """A socket of this machine alone on a port, or on the first free one.

    Raises:
        InputError: the port is taken, or may not be used.
    """
    tried = range(PORT, PORT + _TRIED) if port is None else (port,)
    for each in tried:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # so that a server that has just ended does not hold it; on Windows it would share
                found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((HOST, each))
            found.listen(128)
            return found
        except OSError as error:
            found.close()
            if port is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
                raise InputError(f"--port {each}: {why}; name another, or leave the option out") from None
    raise InputError(f"the ports {tried[0]} to {tried[-1]} are taken; name another with --port")


@contextmanager
def learning_of(session: Session) -> Iterator[Learning | None]:
    """What makes rounds of the run within the block; None where they take too long to wait for."""
    if not learns(session.source):
        yield None
        return
    with closing(Learning(session, lambda: _rank(session))) as learning:
        yield learning


def prepared(
    session: Session, taken: socket.socket, token: str = "", learning: Learning | None = None
) -> tuple[Server, str]:
    """A server and the address of its page, which holds the token.

    Args:
        session: the run that is reviewed.
        taken: as from :func:`listening`.
        token: a new one if empty.
        learning: makes rounds of the run.

    Raises:
        InputError: the extra is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise InputError("deft review needs a web server; pip install 'deft-wsss[review]'") from None
    port, token = taken.getsockname()[1], token or new_token()

    def stop() -> None:
        server.should_exit = True

    app = Guard(build(session, stop, learning), port, token)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
    )
    return server, f"http://{HOST}:{port}/?token={token}"


def show(address: str) -> None:
    """Open an address in the browser, if there is one."""
    Thread(target=webbrowser.open, args=(address,), name="deft-browser", daemon=True).start()


def _rank(session: Session) -> None:
    """Put the images that need a look first, which may take a while."""
    try:
        session.gallery.suggest(suggested(session.source))
    except (InputError, OSError) as error:
        order = "as they were" if session.round else "in the order of their names"
        print(f"deft: images are {order}: {printable(str(error))}", file=sys.stderr)
    finally:
        session.gallery.ranked = True
