"""What a submission may hold, to the last field. Reading it runs no code, and opens nothing but its policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from steer_env.policies.cards import check_name, check_settings, check_text
from steer_env.registry import Registry

ALLOWED = ("policy.json", "policy.onnx", "card.json", "README.md", "LICENSE", "manifest.json")
"""Names of files beside each other in a policy's folder. Hidden ones are left alone, unopened."""
ROUNDS = 64
"""Most rows of a table."""

Name = Annotated[str, BeforeValidator(check_name)]
Text = Annotated[str, AfterValidator(lambda text: check_text("it", text))]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Seed = Annotated[int, Field(ge=-1, lt=2**63)]
Scale = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """No field more than those below, and no value of another type: "1", true and 1.0 aren't 1."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class TrainingSchema(Strict):
    """See :class:`steer_env.policies.cards.TrainingRecord`."""

    suite: Text
    episodes: Whole
    settings: Annotated[dict[Text, Any], AfterValidator(check_settings)]
    versions: Annotated[dict[Text, Text], Field(max_length=100)]


class CardSchema(Strict):
    """How a policy was made; older cards may hold a claim, which isn't read."""

    training: TrainingSchema | None = None
    claim: Any = None


class PolicySchema(Strict):
    """What all kinds of policies share.

    Args:
        kind, name, training_seed, card: as in :class:`steer_env.policies.stored.StoredPolicy`.
        seal: hash of all else, see :func:`steer_env.files.seal`; a file that was written by hand may have none.
    """

    kind: str
    name: Name
    training_seed: Seed
    card: CardSchema = CardSchema()
    seal: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class TableSchema(PolicySchema):
    """A table over (round, stayed)."""

    kind: Literal["table"]
    scales: Annotated[
        list[Annotated[list[Scale], Field(min_length=2, max_length=2)]], Field(min_length=1, max_length=ROUNDS)
    ]


class HistoriesSchema(PolicySchema):
    """A scale for each history; how long the rows must be is checked by the policy itself."""

    kind: Literal["histories"]
    scales: Annotated[list[Annotated[list[Scale], Field(max_length=2**11)]], Field(min_length=1, max_length=12)]


class NetworkSchema(PolicySchema):
    """An ONNX graph in a file of its own; what it may hold is checked in :mod:`steer_env.policies.graphs`."""

    kind: Literal["network"]
    action: Text
    observe: Annotated[list[Text], Field(max_length=8)]
    graph: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


KINDS: Registry[type[PolicySchema]] = Registry(
    "kind of policy", {"table": TableSchema, "histories": HistoriesSchema, "network": NetworkSchema}
)
M = TypeVar("M", bound=BaseModel)


def checked(schema: type[M], record: Any) -> M:
    """The record as its schema; a ValueError names the first field that is wrong, with its value, in one line."""
    if not isinstance(record, Mapping):
        raise ValueError(f"it holds {type(record).__name__}, not a JSON object")
    try:
        return schema.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    place = ".".join(str(part)[:40] for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    raise ValueError(f"{place}: {message}, got {str(first['input'])[:40]!a}")


def check_policy(record: Any) -> PolicySchema:
    """A policy's file, checked to the last field.

    Raises:
        ValueError: naming the first field that is missing, unknown, or impossible.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"it holds {type(record).__name__}, not a JSON object")
    kind = record.get("kind")
    if not isinstance(kind, str):
        raise ValueError(f"kind: it must be one of {', '.join(KINDS)}, got {str(kind)[:40]!a}")
    return checked(KINDS[kind[:40]], record)


def check_files(folder: Path) -> None:
    """Raises a ValueError if the folder holds anything that no policy has, by its name; nothing is opened."""
    for path in sorted(folder.iterdir()):
        if path.name not in ALLOWED and not path.name.startswith("."):
            raise ValueError(
                f"{folder} holds {path.name!a}, which no policy has: a policy travels as policy.json, with nothing "
                f"beside it but {', '.join(ALLOWED[1:])}"
            )
