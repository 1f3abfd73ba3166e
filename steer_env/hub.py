"""Policies and traces on a hub in Hugging Face's manner, pinned to a commit; nothing else needs it, or a network."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from steer_env import __version__
from steer_env.files import write_atomically
from steer_env.policies import POLICY_FILE
from steer_env.policies.names import own_policy
from steer_env.policies.stored import PolicyError, ScalesPolicy, StoredPolicy
from steer_env.traces import SteeringTrace, read_traces, write_traces

CARD, TRACES = "README.md", "traces.parquet"
POLICY_FILES = (POLICY_FILE, "policy.onnx")
SAFE = ("*.json", "*.safetensors", "*.onnx", "*.parquet", CARD)
"""What is sent and fetched: formats that can't run code."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Saved(Protocol):
    """A policy that can be written without code."""

    name: str
    training_seed: int

    def save(self, folder: Path) -> None:
        """Write its files."""
        ...


def push_policy(policy: Saved, repository: str, **hub: Any) -> str:
    """Send a policy and its model card to a repository, which is made if it isn't there.

    Args:
        policy: such as a :class:`steer_env.TablePolicy`, or what :func:`steer_env.policies.read_policy` returns.
        repository: ``OWNER/NAME``.
        **hub: ``endpoint`` and ``token`` of :class:`huggingface_hub.HfApi`; ``private``, of a new repository.

    Returns:
        The commit, 40 hexadecimal digits, to hand to :func:`pull_policy`.

    Raises:
        huggingface_hub.errors.HfHubHTTPError, OSError: the hub can't be reached, or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder))
        write_atomically(Path(folder, CARD), model_card(policy, repository))
        return _push(Path(folder), repository, "model", f"Policy {policy.name}", **hub)


def pull_policy(repository: str, revision: str, endpoint: str | None = None, **hub: Any) -> StoredPolicy:
    """A policy from a repository, at one commit; read as a stranger's: nothing of it is run.

    Args:
        repository: ``OWNER/NAME``.
        revision: the commit, 40 hexadecimal digits: a branch could be another policy tomorrow.
        endpoint: the hub's address; huggingface_hub's own by default.
        **hub: ``token``, ``cache_dir`` and ``local_files_only`` of :func:`huggingface_hub.snapshot_download`.

    Raises:
        ValueError: a revision that is no commit.
        steer_env.policies.stored.PolicyError: no policy there, a damaged one, or one with a built-in one's name.
        huggingface_hub.errors.HfHubHTTPError, OSError: the hub can't be reached, or has no such commit.
    """
    fetched = _pull(repository, revision, "model", endpoint=endpoint, **hub)
    with tempfile.TemporaryDirectory() as folder:
        # The hub's cache has links, and other files of the commit; a policy's folder may have neither.
        for name in POLICY_FILES:
            if (fetched / name).exists():
                shutil.copyfile(fetched / name, Path(folder, name))
        try:
            return own_policy(Path(folder))
        except PolicyError as error:
            raise PolicyError(str(error).replace(folder, f"{repository}@{revision[:8]}")) from error


def push_traces(traces: Iterable[SteeringTrace], repository: str, **hub: Any) -> str:
    """Send traces and their dataset card to a repository of data, which is made if it isn't there.

    Args:
        traces: episodes, at least one.
        repository: ``OWNER/NAME``.
        **hub: as for :func:`push_policy`.

    Returns:
        The commit, 40 hexadecimal digits, to hand to :func:`pull_traces`.

    Raises:
        ValueError: no traces.
        huggingface_hub.errors.HfHubHTTPError, OSError: the hub can't be reached, or refuses.
    """
    episodes = list(traces)
    if not episodes:
        raise ValueError("there are no traces to send")
    with tempfile.TemporaryDirectory() as folder:
        write_traces(episodes, Path(folder, TRACES))
        write_atomically(Path(folder, CARD), dataset_card(episodes, repository))
        return _push(Path(folder), repository, "dataset", f"{len(episodes)} episodes", **hub)


def pull_traces(repository: str, revision: str, endpoint: str | None = None, **hub: Any) -> list[SteeringTrace]:
    """Traces from a repository of data, at one commit; arguments and errors as for :func:`pull_policy`.

    Raises:
        FileNotFoundError, steer_env.traces.TraceVersionError: no traces there, or of another version.
    """
    return read_traces(_pull(repository, revision, "dataset", endpoint=endpoint, **hub))


def model_card(policy: Saved, repository: str) -> str:
    """What a policy is, how it was trained and how it is read, as Markdown with the hub's metadata."""
    training = getattr(getattr(policy, "card", None), "training", None)
    rows = [("kind", getattr(policy, "kind", "network")), ("training seed", policy.training_seed)]
    if training:
        rows += [("trained on", training.suite), ("episodes", training.episodes)]
        rows += [(package, version) for package, version in training.versions.items()]
    scales = _scales(policy)
    settings = f"\n```json\n{json.dumps(dict(training.settings), indent=2)}\n```\n" if training else ""
    return _card(
        {"library_name": "steer_env", "pipeline_tag": "reinforcement-learning"},
        policy.name,
        f"A steering policy for `steer_env/ImageSteering-v0`, written by steer_env {__version__}: it decides how far "
        "the proposals of each round lie from the current image.",
        _table(["what", "value"], rows) + scales + settings,
        f"policy = pull_policy({repository!r}, revision=COMMIT)\nsteer_env.evaluate([policy, 'random-bucket'])",
        "pull_policy",
    )


def dataset_card(traces: Sequence[SteeringTrace], repository: str) -> str:
    """What episodes there are and how they are read, as Markdown with the hub's metadata."""
    by_policy: dict[str, list[float]] = {}
    for trace in traces:
        by_policy.setdefault(trace.policy, []).append(trace.improvement)
    means = [(name, len(gains), f"{sum(gains) / len(gains):.4f}") for name, gains in by_policy.items()]
    parts = [
        (part, ", ".join(sorted({getattr(trace, part) for trace in traces})))
        for part in ("suite", "generator", "metric", "human", "mechanism")
    ]
    return _card(
        {"configs": [{"config_name": "default", "data_files": TRACES}]},
        repository,
        f"{len(traces)} episodes of steering, one a row, written by steer_env {__version__}.",
        _table(["part", "of these episodes"], parts) + _table(["policy", "episodes", "mean improvement"], means),
        f"traces = pull_traces({repository!r}, revision=COMMIT)",
        "pull_traces",
    )


def _card(data: dict[str, Any], title: str, lead: str, body: str, use: str, function: str) -> str:
    from huggingface_hub import CardData

    metadata = CardData(license="apache-2.0", tags=["steer_env", "steering"], **data).to_yaml()
    program = f"```python\nimport steer_env\nfrom steer_env.hub import {function}\n\n{use}\n```"
    return f"---\n{metadata}\n---\n\n# {title}\n\n{lead}\n{body}\n{program}\n"


def _scales(policy: Saved) -> str:
    """The table of a policy that is one."""
    if not isinstance(policy, ScalesPolicy):
        return ""
    return _table(["round", policy.order], [(place + 1, row) for place, row in enumerate(policy.rows)])


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


def _push(folder: Path, repository: str, kind: str, message: str, **hub: Any) -> str:
    from huggingface_hub import HfApi

    private = hub.pop("private", None)
    api = HfApi(library_name="steer_env", library_version=__version__, **hub)
    api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
    sent = api.upload_folder(
        repo_id=repository, repo_type=kind, folder_path=folder, allow_patterns=list(SAFE), commit_message=message
    )
    return cast(str, sent.oid)


def _pull(repository: str, revision: str, kind: str, **hub: Any) -> Path:
    if not _COMMIT.fullmatch(revision):
        raise ValueError(
            f"revision must be a commit, 40 hexadecimal digits, as push_{'policy' if kind == 'model' else 'traces'} "
            f"returns it, got {revision!r}"
        )
    from huggingface_hub import snapshot_download

    patterns = list(POLICY_FILES) if kind == "model" else ["*.parquet"]
    return Path(
        snapshot_download(
            repository, repo_type=kind, revision=revision, allow_patterns=patterns, library_name="steer_env", **hub
        )
    )
