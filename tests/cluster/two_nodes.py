"""A real Ray cluster: two nodes, each with a raylet of its own, on this machine."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.cluster.one_node import free_ports, wait_until

PATIENCE = 60


class Node:
    """One node: a head that others join, or one that joins a head."""

    def __init__(self, cpus: int, options: list[str], log: Path) -> None:
        ray = Path(sys.executable).parent / "ray"
        command = [str(ray), "start", "--block", f"--num-cpus={cpus}", "--disable-usage-stats", *options]
        with log.open("wb") as file:
            self.process = psutil.Popen(command, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        started = lambda: "Ray runtime started" in log.read_text()  # noqa: E731
        try:
            wait_until(started, "a node to start", log.read_text, PATIENCE)
        except TimeoutError:
            self.kill()
            raise

    def idle(self, name: str) -> list[psutil.Process]:
        """The processes on this node that hold an actor of that name, and call none of its methods now."""
        found = []
        for process in self.process.children(recursive=True):
            with suppress(psutil.Error):
                if process.cmdline()[:1] == [f"ray::{name}"]:
                    found.append(process)
        return found

    def kill(self) -> None:
        """As if the machine had been switched off."""
        with suppress(psutil.NoSuchProcess):
            processes = [self.process, *self.process.children(recursive=True)]
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(processes, PATIENCE)


@contextmanager
def two_nodes(cpus: int = 1) -> Iterator[tuple[str, Node, Node]]:
    """Start it; yields its address, its head and its other node.

    Raises:
        TimeoutError: a node doesn't start; with what it said.
    """
    # Sockets are made in it, whose paths must be short.
    folder, nodes = Path(tempfile.mkdtemp(prefix="ray-")), []
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    try:
        head = ["--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false"]
        nodes.append(Node(cpus, [*head, f"--temp-dir={folder}"], folder / "head.log"))
        joins = [f"--address={address}", "--node-ip-address=127.0.0.2"]
        nodes.append(Node(cpus, joins, folder / "other.log"))
        yield address, nodes[0], nodes[1]
    finally:
        for node in reversed(nodes):
            node.kill()
        shutil.rmtree(folder, ignore_errors=True)
