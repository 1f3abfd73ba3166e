"""The server's process: it answers requests, and keeps a worker alive."""

from __future__ import annotations

import ipaddress
import multiprocessing
import signal
import threading
from contextlib import closing
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.people.log import Store
from experiments.people.options import PeopleOptions, WebOptions
from experiments.people.screens import screen_of
from experiments.people.sources import prepare
from experiments.people.study import Study
from experiments.run import say
from experiments.run.parts import env_options

_PARTS = ("generator", "metric", "human", "mechanism", "studio", "writer")
_AGAIN, _FAILURES = 1.0, 3
"""Seconds between a worker's end and the next one; and how often it may fail in a row."""


def check_address(web: WebOptions) -> None:
    """
    Raises:
        ModuleNotFoundError: the packages of the server aren't here.
        ValueError: an address that isn't one, or that others reach, without a password.
    """
    if not find_spec("uvicorn") or not find_spec("starlette"):
        raise ModuleNotFoundError("the study needs packages that aren't here: pip install 'steer-env[people]'")
    try:
        address = ipaddress.ip_address(web.host)
    except ValueError:
        raise ValueError(f"web.host must be an IP address such as 127.0.0.1 or 0.0.0.0, got {web.host!r}") from None
    if not (address.is_loopback and not web.proxy) and len(web.password) < 8:
        raise ValueError(f"others reach {web.proxy or web.host}: give web.password, of 8 characters or more")


class Keeper(threading.Thread):
    """Starts a worker, and a new one each time it ends."""

    def __init__(self, options: PeopleOptions, folder: Path) -> None:
        super().__init__(daemon=True)
        # Parts travel as plain values: their classes are made for this process alone.
        parts = env_options(options)
        model = asdict(options.writer)
        without: dict[str, Any] = {name: {} for name in _PARTS}
        bare = replace(options, **without)
        self._arguments, self._over = (bare, parts, model, folder), threading.Event()
        self.worker: multiprocessing.process.BaseProcess | None = None

    def run(self) -> None:
        """Until it is stopped, or a worker has failed several times in a row, by itself."""
        context, failures = multiprocessing.get_context("spawn"), 0
        while not self._over.is_set():
            worker = context.Process(target=_work, args=self._arguments, daemon=True)
            worker.start()
            self.worker = worker
            worker.join()
            if self._over.is_set():
                return
            failures = failures + 1 if worker.exitcode == 1 else 0
            if failures == _FAILURES:
                say("the worker fails again and again: the study is stopped")
                signal.raise_signal(signal.SIGINT)
                return
            say("the worker has ended, and is started again")
            self._over.wait(_AGAIN)

    def stop(self) -> None:
        """End the worker for good."""
        self._over.set()
        if worker := self.worker:
            worker.terminate()
        self.join(10)


def _work(options: PeopleOptions, parts: dict[str, Any], model: dict[str, Any], folder: Path) -> None:
    from experiments.people.worker import work

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(options, parts, model, folder)


def serve(study: Study, options: PeopleOptions, folder: Path) -> None:
    """Answer requests until Ctrl-C."""
    import uvicorn

    from experiments.people.app import make_app

    with closing(Store(folder, lambda log: screen_of(log, study).waits)) as store:
        prepare(study, store)
        store.keep(study.content())
        keeper = Keeper(options, folder)
        keeper.start()
        web = options.web
        config = uvicorn.Config(
            make_app(study, store, options),
            host=web.host,
            port=web.port,
            # Paths hold people's tokens: they are in no log.
            access_log=False,
            log_level="warning",
            proxy_headers=bool(web.proxy),
            forwarded_allow_ips=web.proxy or None,
            server_header=False,
            limit_concurrency=1000,
            timeout_keep_alive=30,
            h11_max_incomplete_event_size=16_384,
        )
        say(f"the study is at http://{web.host}:{web.port}/ – Ctrl-C stops it, the same command goes on")
        try:
            uvicorn.Server(config).run()
        finally:
            keeper.stop()
