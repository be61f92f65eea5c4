"""The addresses of ``deft review``: what the page asks for, answered from a session; the door to Starlette.

Every answer that is no success is ``{"error": "one line"}`` with status 400 (not understood), 404 (not there), 409
(somebody has changed the image meanwhile; with the image as it is now), 413 (too large) or 500.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from deft import __version__
from deft.artifacts.journal import Journal
from deft.artifacts.review import StaleError
from deft.contracts import IGNORE, InputError
from deft.guards.words import shown
from deft.review import asked
from deft.review.leaflet import leaflet_file, page_file
from deft.review.learning import Learning
from deft.review.maps import maps_of, packed
from deft.review.pictures import Pictures
from deft.review.session import Session

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_FRESH = {"cache-control": "no-store"}
_CHECKED = {"cache-control": "private, no-cache"}
"""Kept by the browser, which asks whether it still holds: another run may have the same address another day."""


def build(session: Session, stop: Callable[[], None], learning: Learning | None = None) -> Starlette:
    """The application, without its guard (:mod:`deft.review.guard`).

    Args:
        session: the run that is reviewed.
        stop: ends the server.
        learning: makes rounds of the run; None where they take too long to wait for.

    Raises:
        InputError: Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError:
        raise InputError("deft review needs a web server; pip install 'deft-wsss[review]'") from None

    gallery, pictures = session.gallery, Pictures(session)
    run = session.source.run.resolve()
    key = hashlib.sha256(os.fsencode(run)).hexdigest()[:16]

    def answer(value: Any, status: int = 200) -> Response:
        # ASCII alone: names of files may hold bytes that no encoding has letters for.
        return Response(json.dumps(value, allow_nan=False), status, _FRESH, "application/json")

    def told(error: Exception) -> Response:
        if isinstance(error, OSError):
            name = f" ({shown(os.fsdecode(error.filename))})" if error.filename is not None else ""
            return answer({"error": f"{error.strerror or error}{name}; this step was not written"}, 500)
        status = 404 if isinstance(error, LookupError) else 400
        return answer({"error": " ".join(str(error.args[0] if error.args else error).split())}, status)

    def picture(request: Request, content: bytes, kind: str, keep: bool = False) -> Response:
        if not keep:
            return Response(content, 200, _FRESH, kind)
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = _CHECKED | {"etag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(None, 304, headers)
        return Response(content, 200, headers, kind)

    async def received(request: Request, most: int) -> bytes:
        """The body of a request, which is not read further than allowed."""
        content = bytearray()
        async for part in request.stream():
            content += part
            if len(content) > most:
                raise HTTPException(413, f"expected at most {most:,} bytes, got more")
        return bytes(content)

    def reading(work: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """A request that reads."""

        async def handle(request: Request) -> Response:
            try:
                return await run_in_threadpool(work, request)
            except (InputError, LookupError, OSError) as error:
                return told(error)

        return handle

    def writing(
        work: Callable[[Request, bytes], Any], most: int = asked.MOST_JSON
    ) -> Callable[[Request], Awaitable[Response]]:
        """A request that changes an image, and is answered with it."""

        async def handle(request: Request) -> Response:
            try:
                content = await received(request, most)
                found = answer(await run_in_threadpool(work, request, content))
                if learning is not None:
                    await run_in_threadpool(learning.prepare)  # somebody who only looks does not pay for it
                return found
            except StaleError as error:
                number = asked.whole(request.path_params.get("id") or asked.body(content).get("image"), "image")
                now = await run_in_threadpool(session.details, number)
                return answer({"error": str(error), "image": now}, 409)
            except ClientDisconnect:
                return Response(status_code=400)
            except (InputError, LookupError, OSError) as error:
                return told(error)

        return handle

    def number_of(request: Request) -> int:
        number = asked.whole(request.path_params["id"], "id")
        session.item(number)
        return number

    def learned_so_far() -> dict[str, Any] | None:
        return None if learning is None else learning.state()

    def index(request: Request) -> Response:
        content, kind = page_file("index.html")
        return Response(content, 200, _FRESH, kind)

    def static(request: Request) -> Response:
        found = page_file if request.path_params["of"] == "page" else leaflet_file
        content, kind = found(request.path_params["name"])
        return picture(request, content, kind, keep=True)

    def overview(request: Request) -> Response:
        about = {"run": run.name, "key": key, "version": __version__, "layers": session.layers, "ignore": IGNORE}
        return answer(about | {"learning": learned_so_far()} | gallery.overview())

    def images(request: Request) -> Response:
        given = request.query_params
        if "ids" in given:
            numbers = asked.ids(given["ids"])
            if strangers := [number for number in numbers if number >= len(gallery.items)]:
                raise InputError(f"ids: no image {strangers[0]}; reload the page")
            return answer({"total": len(numbers), "images": gallery.entries(numbers)})
        numbers = gallery.chosen(asked.query(given))
        if given.get("fields") == "ids":
            return answer({"total": len(numbers), "ids": numbers})
        return answer({"total": len(numbers), "images": gallery.entries(numbers[asked.span(given)])})

    def image(request: Request) -> Response:
        return answer(session.details(number_of(request)))

    def thumbnail(request: Request) -> Response:
        with_mask = request.query_params.get("mask") == "1"
        return picture(request, pictures.thumbnail(number_of(request), with_mask), "image/jpeg", keep=True)

    def photograph(request: Request) -> Response:
        return picture(request, pictures.photograph(number_of(request)), "image/jpeg", keep=True)

    def layer(request: Request) -> Response:
        return picture(request, pictures.layer(number_of(request), request.path_params["layer"]), "image/png")

    def maps(request: Request) -> Response:
        item = session.item(number_of(request))
        found = maps_of(session.source, asked.word(request.path_params["layer"], "layer"), item)
        return picture(request, packed(found), "application/octet-stream")

    def superpixels(request: Request) -> Response:
        cells = asked.whole(request.query_params.get("cells", "400"), "cells", 10, 5000)
        return picture(request, pictures.superpixels(number_of(request), cells), "image/png", keep=True)

    def draw(request: Request, content: bytes) -> dict[str, Any]:
        number = number_of(request)
        revision = asked.whole(request.query_params.get("revision"), "revision")
        what = asked.word(request.query_params.get("what", "brush"), "what")
        seen = asked.digest(request.query_params.get("seen"), "seen")
        drawn = asked.mask(content, session.edit_size(number))
        return session.details(number, session.draw(number, revision, drawn, what, seen))

    def change(act: Callable[[int, int, dict[str, Any]], Journal]) -> Callable[[Request, bytes], dict[str, Any]]:
        def work(request: Request, content: bytes) -> dict[str, Any]:
            number, given = number_of(request), asked.body(content)
            journal = act(number, asked.whole(given.get("revision"), "revision"), given)
            return session.details(number, journal)

        return work

    def cut(request: Request, content: bytes) -> dict[str, Any]:
        given = asked.body(content)
        value, number = asked.threshold(given.get("value")), given.get("image")
        if number is None:
            wanted, most = given.get("class"), len(session.source.classes)
            start = asked.whole(given.get("start", 0), "start")
            value_of = None if wanted is None else asked.whole(wanted, "class", 1, most)
            changed, further = session.cut_all(value_of, value, start)
            return {"changed": changed, "next": further}
        number = asked.whole(number, "image")
        journal = session.cut(number, asked.whole(given.get("revision"), "revision"), value)
        return {"changed": int(journal is not None), "image": session.details(number)}

    def learn(request: Request, content: bytes) -> dict[str, Any]:
        if learning is None:
            raise InputError("this run takes too long to wait for; repeat the command that made it")
        learning.begin()
        return learning.state()

    def learned(request: Request) -> Response:
        return answer(learned_so_far())

    async def end(request: Request) -> Response:
        stop()
        return Response(status_code=204)

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return answer({"error": error.detail}, error.status_code)
        return answer({"error": f"an error of deft ({type(error).__name__}); the terminal has more"}, 500)

    state = change(
        lambda number, revision, given: session.decide(
            number, revision, str(given.get("state")), asked.digest(given.get("seen"), "seen")
        )
    )
    tags = change(
        lambda number, revision, given: session.tag(number, revision, asked.numbers(given.get("tags"), "tags"))
    )
    undo = change(lambda number, revision, given: session.move(number, revision, -1))
    redo = change(lambda number, revision, given: session.move(number, revision, 1))
    return Starlette(
        routes=[
            Route("/", reading(index)),
            Route("/static/{of:str}/{name:path}", reading(static)),
            Route("/api/run", reading(overview)),
            Route("/api/images", reading(images)),
            Route("/api/image/{id:str}", reading(image)),
            Route("/api/image/{id:str}/mask", writing(draw, asked.MOST_MASK), methods=["POST"]),
            Route("/api/image/{id:str}/state", writing(state), methods=["POST"]),
            Route("/api/image/{id:str}/tags", writing(tags), methods=["POST"]),
            Route("/api/image/{id:str}/undo", writing(undo), methods=["POST"]),
            Route("/api/image/{id:str}/redo", writing(redo), methods=["POST"]),
            Route("/api/threshold", writing(cut), methods=["POST"]),
            Route("/api/learning", reading(learned)),
            Route("/api/learn", writing(learn), methods=["POST"]),
            Route("/api/stop", end, methods=["POST"]),
            Route("/files/thumb/{id:str}.jpg", reading(thumbnail)),
            Route("/files/photo/{id:str}.jpg", reading(photograph)),
            Route("/files/layer/{layer:str}/{id:str}.png", reading(layer)),
            Route("/files/maps/{layer:str}/{id:str}", reading(maps)),
            Route("/files/superpixels/{id:str}.png", reading(superpixels)),
        ],
        exception_handlers={HTTPException: refused, Exception: refused},
    )
