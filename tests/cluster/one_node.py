"""A real Slurm of one node, this machine, whose daemons, keys and state all live in one folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "srun", "sbatch", "scancel", "scontrol")
PATIENCE = 20.0
_CONF = """
ClusterName=one-node
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldParameters=preempt_send_user_signal
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=1
KillWait=1
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=debug Nodes={host} Default=YES MaxTime=60 State=UP
"""


def why_not() -> str:
    """What is missing here for a Slurm of one's own; empty if nothing is."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    return f"needs Slurm and munge (apt-get install slurm-wlm munge): no {', '.join(missing)}" if missing else ""


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Start munged, slurmctld and slurmd, and stop them in the end.

    Args:
        folder: empty; its path must be short enough for a socket in it.

    Yields:
        The environment in which Slurm's commands address this cluster.

    Raises:
        TimeoutError: the node doesn't become idle; with what the daemons said.
    """
    _write_configuration(folder)
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    munge = [f"--{name.replace('_', '-')}={folder}/munge.{suffix}" for name, suffix in _MUNGE_FILES.items()]
    with ExitStack() as daemons, (folder / "daemons.log").open("wb") as log:
        said = lambda: (folder / "daemons.log").read_text()[-3000:]  # noqa: E731
        daemons.enter_context(_daemon(["munged", "--foreground", "--force", *munge], env, log.fileno()))
        wait_until((folder / "munge.socket").exists, "munged to answer", said)
        daemons.enter_context(_daemon(["slurmctld", "-D", "-c"], env, log.fileno()))
        daemons.enter_context(_daemon(["slurmd", "-D"], env, log.fileno()))
        wait_until(lambda: _output(["sinfo", "--noheader", "--format=%T"], env) == "idle", "the node to be idle", said)
        yield env


_MUNGE_FILES = {"key_file": "key", "socket": "socket", "pid_file": "pid", "log_file": "log", "seed_file": "seed"}


def wait_until(true: Callable[[], bool], what: str, said: Callable[[], str] = str, seconds: float = PATIENCE) -> None:
    """Look ten times a second.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}\n{said()}")
        time.sleep(0.1)


def _write_configuration(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    values = {
        "host": socket.gethostname().partition(".")[0],
        "ports": free_ports(2),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "cpus": os.cpu_count(),
        "memory": memory * 9 // 10,
    }
    (folder / "slurm.conf").write_text(_CONF.format(folder=folder, **values))


def free_ports(n: int) -> list[int]:
    with ExitStack() as sockets:
        found = [sockets.enter_context(socket.socket()) for _ in range(n)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@contextmanager
def _daemon(command: list[str], env: dict[str, str], log: int) -> Iterator[None]:
    with subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _output(command: list[str], env: dict[str, str]) -> str:
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout.strip()
