"""What may be on the board: tracks, what a submission's folder holds, and what makes two submissions the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from steer_env.files import read_json
from steer_env.policies import Policy, StoredPolicy, read_policy
from steer_env.policies.cards import check_text
from steer_env.policies.names import check_own_name, load_policy
from steer_env.policies.schema import Strict, Text, Whole, checked
from steer_env.policies.stored import ScalesPolicy
from steer_env.registry import Registry
from steer_env.types import Prompter

CARD = "card.json"
FILES = ("policy.json", "policy.onnx", CARD)
"""All that a submission's folder may hold."""
DIGITS = 2
"""Of mixture scales: tables that differ by less are the same, and played once."""


@dataclass(frozen=True)
class Track:
    """Entries that are ranked among themselves.

    Args:
        title: in pages.
        mechanism: that all of them play with; empty where users write prompts.
        action: kind of action that a policy takes, one of :data:`DECIDED`.
        references: built-in policies, as specs.
        submissions: whether the track takes any.
    """

    title: str
    mechanism: str
    action: str
    references: tuple[str, ...]
    submissions: bool = True


DECIDED = {"scale": "its scale", "directions": "its noise", "prompt": "the prompt", "": ""}
"""Kind of action → what a policy decides by it, in pages."""
_RANDOM = ("random-bucket",)
_SCALES = (*_RANDOM, "random-session", "constant:0.7", "constant:0.9", "schedule:1.0-1.0-0.8-0.6")
_PREVIEWS = "bayesian:pool=192,temperature=0.03,preview_steps=1,ahead=24"
_PROMPTERS = tuple(f"text:{kind}" for kind in ("attribute", "person", "feedback", "blind"))
TRACKS: Registry[Track] = Registry(
    "track",
    {
        "mixture": Track("Mixture (Eq. 8)", "mixture", "scale", (*_SCALES, "published", "best-known")),
        "directions": Track("Directions of the noise", "mixture", "directions", ()),
        "learned": Track("Predicted images", "learned", "", _RANDOM, False),
        "previews": Track("Previews, a pool of 192", _PREVIEWS, "", _RANDOM, False),
        "bayesian": Track("Images in full, a pool of 48", "bayesian", "", _RANDOM, False),
        "fresh": Track("Fresh images", "fresh", "", _RANDOM, False),
        "feedback": Track("Feedback without a belief", "feedback", "", _RANDOM, False),
        "qeubo": Track("Gaussian process (qEUBO)", "qeubo", "", _RANDOM, False),
        "text": Track("Prompts", "", "prompt", _PROMPTERS, False),
    },
)
"""By name of the folder in submissions/. Tracks whose mechanism leaves nothing to decide hold references alone."""


Point = Annotated[list[Annotated[float, Field(ge=-2, lt=2**63)]], Field(min_length=2, max_length=2)]


class Card(Strict):
    """What authors say of a submission: nothing that is measured.

    Args:
        authors: names, in their order.
        method: how the policy was made, in a sentence or two.
        episodes: of training, all tries that led to it together.
        passes: of the denoiser in those episodes; null where they weren't counted.
        licence: an SPDX identifier, such as Apache-2.0.
        link: to a paper or code, https; null for none.
        curve: of the training, episodes and mean improvement of each point; shown with the card alone, as not verified.
    """

    authors: Annotated[list[Text], Field(min_length=1, max_length=50)]
    method: Annotated[
        str, Field(min_length=10, max_length=600), AfterValidator(lambda text: check_text("it", text, 600))
    ]
    episodes: Whole
    passes: Whole | None = None
    licence: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]{1,60}$")]
    link: Annotated[str, Field(pattern=r"^https://[\w.-]+(/[\w./~%#?=&+-]*)?$", max_length=200)] | None = None
    curve: Annotated[list[Point], Field(min_length=2, max_length=60)] | None = None


@dataclass(frozen=True)
class Entry:
    """What is verified as one.

    Args:
        track: a name of :data:`TRACKS`.
        name: of the policy, or of a reference's spec.
        identity: hash of what it does in its track.
        policy: plays.
        card: of its authors; None for a reference.
    """

    track: str
    name: str
    identity: str
    policy: Policy | Prompter
    card: dict[str, Any] | None = field(default=None)


def new_entries(board: Path, tracks: Sequence[str], references: bool) -> tuple[list[Entry], dict[str, str]]:
    """Entries of these tracks without a report, and the submissions that are refused, with the reason.

    The board is a folder with submissions/TRACK/NAME/ and reports/; references, built-in policies, are entries on
    request.
    """
    known = {path.stem for path in (board / "reports").glob("*.json")}
    entries: dict[str, Entry] = {}
    refused: dict[str, str] = {}
    for track in tracks:
        for spec in TRACKS[track].references if references else ():
            entry = Entry(track, spec, _hash(track, spec), load_policy(spec))
            entries[entry.identity] = entry
    for folder in sorted((board / "submissions").glob("*/*")):
        place = str(folder.relative_to(board))
        try:
            entry = read_submission(folder)
        except (OSError, ValueError) as error:
            refused[place] = str(error)
            continue
        twin = entries.get(entry.identity)
        if twin is not None:
            refused[place] = f"{twin.name!r} does the same: a policy is verified once"
        elif entry.track in tracks:
            entries[entry.identity] = entry
    return [entry for entry in entries.values() if entry.identity not in known], refused


def read_submission(folder: Path) -> Entry:
    """A submission's policy and card, without running anything of it.

    Raises:
        ValueError: a link, a file that doesn't belong there, an unknown track, a card or a policy that isn't as it must
            be, or a built-in policy's name.
        FileNotFoundError: no card.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        raise ValueError("it is a link")
    track = folder.parent.name
    if not TRACKS[track].submissions:
        raise ValueError(f"the track {track} takes no submissions: its mechanism leaves nothing to decide")
    for path in sorted(folder.iterdir()):
        if path.name not in FILES or path.is_symlink() or not path.is_file():
            raise ValueError(f"it holds {path.name!a}; a submission is {', '.join(FILES)} and nothing else, no links")
    try:
        card = checked(Card, read_json(folder / CARD))
    except FileNotFoundError:
        raise FileNotFoundError(f"it has no {CARD}") from None
    except ValueError as error:
        raise ValueError(f"{CARD}: {error}") from None
    policy = read_policy(folder)
    check_own_name(policy.name)
    kind = getattr(policy, "action", "scale").partition(":")[0]
    if kind != TRACKS[track].action:
        raise ValueError(f"it decides {kind}, and in the track {track} a policy decides {TRACKS[track].action}")
    policy.rehearse(4)
    return Entry(track, policy.name, identity(track, policy), policy, card.model_dump())


def identity(track: str, policy: StoredPolicy) -> str:
    """Hash of what a policy does: neither its name nor its seed makes it another, nor a change that makes no odds."""
    if policy.kind == "network":
        return _hash(track, {k: v for k, v in policy.record().items() if k not in ("name", "training_seed")})
    assert isinstance(policy, ScalesPolicy)
    rows = [[round(scale, DIGITS) for scale in row] for row in policy.rows]
    if policy.kind == "table":
        # Before the first round no user has stayed.
        rows[0][1] = rows[0][0]
    return _hash(track, {"kind": policy.kind, "scales": rows})


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
