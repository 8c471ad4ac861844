"""Starts the service: uvicorn, in one process or several that share the address."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from falx.address import check_free
from falx.classifier import load
from falx.errors import FalxError
from falx.optional import needs
from falx.serve.bounds import Bounds
from falx.words import DISCLAIMER

if TYPE_CHECKING:
    from starlette.applications import Starlette

SETUP: Final = "FALX_SERVE"
"""The variable of the environment that tells the processes of the service what they serve, as JSON."""

STOP_S: Final = 30
"""Requests that are worked on when the service is told to stop have this long to end."""


class ServiceUnavailable(FalxError, ImportError):  # noqa: N818 - the name says what is wrong
    """The service needs packages that are not installed."""


@dataclass(frozen=True)
class Setup:
    """All that a process of the service must know; a token, if there is one, is what requests must bear."""

    address: str
    port: int
    processes: int
    model: str | None
    engine: str | None
    threads: int | None
    token: str | None
    bounds: Bounds


def start(setup: Setup) -> None:
    """Serves until the process is told to stop; requests that are worked on are answered first."""
    with needs("`falx serve`", "serve", ServiceUnavailable):
        import python_multipart  # noqa: F401 - so that it is not missing when a form comes
        import starlette  # noqa: F401 - as above
        import uvicorn
    check_free(setup.address, setup.port)
    os.environ[SETUP] = json.dumps(asdict(setup))
    # uvicorn tells of requests and of errors; both may quote what was sent.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    sys.stdout.write(f"Falx answers at http://{setup.address}:{setup.port}/; Ctrl+C ends it.\n{DISCLAIMER}\n")
    sys.stdout.flush()
    uvicorn.run(
        "falx.serve.server:made",
        factory=True,
        host=setup.address,
        port=setup.port,
        workers=setup.processes,
        access_log=False,
        http="falx.serve.connection:Connection",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        h11_max_incomplete_event_size=64 * 1024,
    )


def made() -> Starlette:
    """Makes the application in a process of the service, as the environment tells it."""
    from falx.serve.endpoints import application

    told: dict[str, Any] = json.loads(os.environ[SETUP])
    setup = Setup(**told | {"bounds": Bounds(**told["bounds"])})
    classifier = load(setup.model, engine=setup.engine, threads=setup.threads)
    return application(classifier, setup.bounds, setup.token)
