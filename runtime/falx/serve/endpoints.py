"""The endpoints of `falx serve`: what is asked, and what is answered.

Nothing of a request is stored or logged: a file is read in memory, answered and forgotten.
"""

from __future__ import annotations

import asyncio
import io
import secrets
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from falx.errors import ThresholdError, UnreadableImage
from falx.prediction import Failure
from falx.reading.input_file import InputFile
from falx.reading.source import read
from falx.serve.admission import Admission, uploads
from falx.serve.bounds import Bounds
from falx.serve.metrics import CONTENT_TYPE, Metrics
from falx.serve.openapi import document, page
from falx.slices.overlay import overlay
from falx.words import LABELS

if TYPE_CHECKING:
    from starlette.requests import Request

    from falx.classifier import Classifier
    from falx.decision import Thresholds

Work = Callable[[list[bytes], "Thresholds"], Response]


def application(classifier: Classifier, bounds: Bounds, token: str | None) -> Starlette:
    """Makes the application; requests must bear the token, if there is one."""
    return _Service(classifier, bounds, token).application()


class _Service:
    def __init__(self, classifier: Classifier, bounds: Bounds, token: str | None) -> None:
        self._classifier = classifier
        self._bounds = bounds
        self._token = token
        self._admission = Admission(bounds)
        self._metrics = Metrics()
        # As many as may run: a request that is given up while it is worked on keeps its thread to the end.
        self._threads = ThreadPoolExecutor(bounds.running, thread_name_prefix="falx-serve")

    def application(self) -> Starlette:
        with_token = self._token is not None
        routes = [
            Route("/v1/predict", partial(self._worked, work=self._predicted), methods=["POST"]),
            Route("/v1/heatmap", partial(self._worked, work=self._drawn), methods=["POST"]),
            Route("/v1/study", partial(self._worked, work=self._summed), methods=["POST"]),
            Route("/healthz", self._health),
            Route("/metrics", self._told),
            Route("/openapi.json", lambda _: JSONResponse(document(self._bounds, with_token=with_token))),
            Route("/", lambda _: HTMLResponse(page(self._bounds, with_token=with_token))),
        ]
        handlers = {HTTPException: _refused, Exception: _failed}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._threads.shutdown(cancel_futures=True)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "model": self._classifier.model.to_dict()})

    async def _told(self, request: Request) -> Response:
        self._check_token(request)
        text = self._metrics.text(running=self._admission.running, waiting=self._admission.waiting)
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    async def _worked(self, request: Request, work: Work) -> Response:
        """Answers a request within its bounds, and counts it."""
        endpoint = request.url.path.rpartition("/")[2]
        started, status = time.perf_counter(), 500
        try:
            response = await self._answered(request, work)
            status = response.status_code
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            self._metrics.request(endpoint, status, time.perf_counter() - started)
        return response

    async def _answered(self, request: Request, work: Work) -> Response:
        self._check_token(request)
        thresholds = _thresholds(request, self._classifier.card.thresholds)
        try:
            async with asyncio.timeout(self._bounds.seconds):
                files = await uploads(request, self._bounds)
                async with self._admission.turn():
                    loop = asyncio.get_running_loop()
                    return await loop.run_in_executor(self._threads, work, files, thresholds)
        except UnreadableImage as error:
            return JSONResponse(Failure(None, error).to_dict(), 422)
        except TimeoutError:
            raise HTTPException(503, f"not answered within {self._bounds.seconds} s; try again") from None

    def _predicted(self, files: list[bytes], thresholds: Thresholds) -> Response:
        prediction = self._classifier.predict(_only(files), thresholds=thresholds)
        self._metrics.decision(prediction.decision)
        return JSONResponse(prediction.to_dict())

    def _drawn(self, files: list[bytes], thresholds: Thresholds) -> Response:
        data = _only(files)
        prediction = self._classifier.predict(data, thresholds=thresholds)
        heatmap = prediction.heatmap
        if heatmap is None:
            why = prediction.reason.message if prediction.reason else "The model makes none."
            raise HTTPException(409, f"there is no heatmap: {why}")
        buffer = io.BytesIO()
        overlay(read(data).pixels, heatmap).save(buffer, "PNG")
        return Response(buffer.getvalue(), media_type="image/png")

    def _summed(self, files: list[bytes], thresholds: Thresholds) -> Response:
        given = [InputFile.of(f"file {number}", data) for number, data in enumerate(files, start=1)]
        # Files of one request are of one examination.
        study = self._classifier.predict_study(given, one_patient=True, thresholds=thresholds)
        failures = [result for result in study.results if isinstance(result, Failure)]
        if failures and len(failures) == len(study.results):
            return JSONResponse(failures[0].to_dict(), 422)
        self._metrics.decision(study.decision)
        return JSONResponse(study.to_dict())

    def _check_token(self, request: Request) -> None:
        if self._token is None:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secrets.compare_digest(given.encode(), self._token.encode()):
            raise HTTPException(
                401, "expected the header Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
            )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - our own invariant: it is registered for these alone
    body = {"error": {"type": "Refused", "message": error.detail}}
    return JSONResponse(body, error.status_code, headers=error.headers)


async def _failed(_: Request, __: Exception) -> Response:
    # Not the error's own text, which may quote what was sent.
    body = {"error": {"type": "Defect", "message": "Falx failed on this request, which is a defect of Falx"}}
    return JSONResponse(body, 500)


def _only(files: list[bytes]) -> bytes:
    if len(files) != 1:
        raise HTTPException(422, f"expected one file, got {len(files)}; /v1/study takes several")
    return files[0]


def _thresholds(request: Request, own: Thresholds) -> Thresholds:
    """Returns the thresholds in force: the card's, with those that the query names in their place."""
    unknown = sorted(set(request.query_params) - {*LABELS})
    if unknown:
        raise HTTPException(
            422, f"unknown parameter {unknown[0]!r}; known are thresholds of {', '.join(LABELS)}"
        )
    try:
        given = {label: float(value) for label, value in request.query_params.items()}
    except ValueError:
        raise HTTPException(422, "expected numbers in (0, 1] as thresholds") from None
    try:
        return type(own).from_mapping(own.to_dict() | given)
    except ThresholdError as error:
        raise HTTPException(422, str(error)) from None
