"""A study at an address of this machine, for browsers and bots."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn

from tests.experiments.people.conftest import Hall


class Served:
    """A study's server and worker, at an address of this machine."""

    def __init__(self, house: Hall) -> None:
        self.house = house
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        port = int(self.url.rpartition(":")[2])
        config = uvicorn.Config(house.client.app, port=port, log_level="warning", ws="none", lifespan="off")
        self.server, self.over = uvicorn.Server(config), False
        self._threads = [threading.Thread(target=self.server.run), threading.Thread(target=self._work)]
        for thread in self._threads:
            thread.start()
        while not self.server.started:
            time.sleep(0.02)

    def _work(self) -> None:
        while not self.over:
            if not self.house.worker.turn():
                time.sleep(0.05)

    def close(self) -> None:
        self.over = self.server.should_exit = True
        for thread in self._threads:
            thread.join(30)
