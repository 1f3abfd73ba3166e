"""Immutable tables from names to parts, and the one language that names a part with its options."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
P = TypeVar("P")

AUTO = "auto"
"""A device or precision that is left to the environment, and by it to the machine."""
_OPENING, _CLOSING = "[{(", "]})"
_POSITIONAL = ""
"""The key of an option without a name, as in ``constant:0.9``."""


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping; an unknown name raises a ValueError with the names that exist and the nearest one.

    >>> Registry("solver", {"ddim": 1, "euler": 2})["dim"]
    Traceback (most recent call last):
    ...
    ValueError: unknown solver 'dim'; did you mean 'ddim'? There are: ddim, euler
    """

    def __init__(self, kind: str, members: Mapping[str, T]) -> None:
        self.kind, self._members = kind, dict(members)

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            nearest = get_close_matches(str(name), self._members, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            known = ", ".join(self._members) or "none"
            raise ValueError(f"unknown {self.kind} {name!r}; {hint}There are: {known}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@dataclass
class NoOptions:
    """A part without options."""


@dataclass(frozen=True)
class Part:
    """A part that isn't imported yet.

    Args:
        options: a dataclass, whose fields are the part's options with their types and defaults.
        factory: ``module:callable`` that makes the part from the options, by their names.
        positional: name of the option that a spec may give by its value alone, as in ``constant:0.9``.
    """

    options: type
    factory: str
    positional: str = ""

    def make(self, options: Any, **context: Any) -> Any:
        """Import the factory, and call it with the options and with what it takes of the context.

        A parameter ``options`` gets them as one object; without it each goes by its name.
        """
        module, _, name = self.factory.partition(":")
        factory = getattr(import_module(module), name)
        parameters = inspect.signature(factory).parameters
        together = "options" in parameters and parameters["options"].kind is not inspect.Parameter.VAR_KEYWORD
        own = {"options": options} if together else vars(options)
        return factory(**own, **{key: value for key, value in context.items() if key in parameters})


Parts = Registry[Part]
Spec = Union[str, Mapping[str, Any], P]  # noqa: UP007 (subscripted at run time)
"""A part by a word such as ``tiles:steps=1``, by a mapping such as ``{"name": "tiles", "steps": 1}``, or itself."""


def own_part(kind: str, value: P, *needs: str) -> P:
    """An object of a user's own in the place of a word, if it has what such parts need.

    Raises:
        ValueError: it lacks something, or is a class.
    """
    if isinstance(value, type) or any(not hasattr(value, name) for name in needs):
        shown = repr(value)[:60]
        raise ValueError(f"{kind} must be a word, a mapping, or an object with {', '.join(needs)}; got {shown}")
    return value


def parse_spec(spec: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of a part.

    Args:
        spec: ``name``; ``name:key=value,key=value`` with values as in YAML, where a comma in brackets or quotes belongs
            to the value; the same with a first value that has no key; or a mapping with a ``name``.

    Raises:
        ValueError: an option without a value, a value that isn't YAML, a mapping without a name, or neither of them.

    >>> parse_spec("bayesian:pool=96,metric=pixel-correlation")
    ('bayesian', {'pool': 96, 'metric': 'pixel-correlation'})
    >>> parse_spec("mixture:members=[greedy, {name: softmax, temperature: 1e-1}]")
    ('mixture', {'members': ['greedy', {'name': 'softmax', 'temperature': 0.1}]})
    >>> parse_spec({"name": "softmax", "temperature": 0.05})
    ('softmax', {'temperature': 0.05})
    """
    if isinstance(spec, Mapping):
        options = {str(key): value for key, value in spec.items()}
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"{dict(spec)!r} doesn't name a part: add its name, such as {{'name': 'tiles', …}}")
        return name, options
    if not isinstance(spec, str):
        raise ValueError(f"{spec!r} names no part: give a word, such as tiles:steps=1, or a mapping with a name")
    name, _, rest = spec.partition(":")
    options = {}
    for place, item in enumerate(_split(rest)):
        key, equals, value = item.partition("=")
        if not equals and place:
            raise ValueError(f"{spec}: {item!r} is no option with a value, such as steps=1")
        if not equals:
            key, options[_POSITIONAL] = _POSITIONAL, item
            continue
        if (key := key.strip()) in options:
            raise ValueError(f"{spec}: option {key!r} is there twice")
        options[key] = _value(value, spec)
    return name.strip(), options


def _split(text: str) -> list[str]:
    """At commas outside brackets and quotes."""
    items, depth, quote, start = [], 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "," and not depth:
            items.append(text[start:place])
            start = place + 1
        else:
            depth += (character in _OPENING) - (character in _CLOSING)
    return [*items, text[start:]] if text else []


def _value(text: str, spec: str) -> Any:
    import yaml

    try:
        return _mended(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"{spec}: {text!r} isn't a value as in YAML") from error


def _mended(value: Any) -> Any:
    """PyYAML reads 1e-3 as a word, and 2024-01-31 as a date."""
    if isinstance(value, list):
        return [_mended(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _mended(entry) for key, entry in value.items()}
    if isinstance(value, str) and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def resolve(parts: Parts, spec: str | Mapping[str, Any], **more: Any) -> tuple[Part, Any]:
    """The part of a spec, see :func:`parse_spec`, and its options with some more; nothing is imported.

    Raises:
        ValueError: an unknown part or option, an option of another type, or a missing one; in one line.
    """
    name, options = parse_spec(spec)
    part = parts[name]
    if _POSITIONAL in options:
        lone = options.pop(_POSITIONAL)
        if not part.positional:
            known = [own.name for own in fields(part.options)]
            example = f"such as {known[0]}={lone}" if known else f"and {parts.kind} {name!r} has none"
            raise ValueError(f"{spec}: {lone!r} is no option with a value, {example}")
        options[part.positional] = lone
    return part, checked_options(part.options, {**options, **more}, f"{parts.kind} {name!r}")


def build(parts: Parts, spec: str | Mapping[str, Any], options: Mapping[str, Any] | None = None, **context: Any) -> Any:
    """Make the part of a spec, with more options, and a context for its factory, such as a generator.

    Raises:
        ValueError: as :func:`resolve`, or from the part itself.
    """
    part, chosen = resolve(parts, spec, **(options or {}))
    return part.make(chosen, **context)


def checked_options(kind: type, options: Mapping[str, Any], owner: str) -> Any:
    """A dataclass of options from values by name; a ValueError names the owner of a bad one, in one line."""
    own = Registry(f"option of {owner}", {field.name: field for field in fields(kind)})
    hints = get_type_hints(kind)
    values = {name: checked_value(name, value, hints[own[name].name]) for name, value in options.items()}
    for field in own.values():
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{owner} needs the option {field.name!r}, such as {field.name}=…")
    return kind(**values)


def checked_value(name: str, value: Any, hint: Any) -> Any:
    """The value, if its type is the hint's: bool, int, float, str, list (of such), mapping or None.

    Others aren't checked.

    A whole number may be a float's value, and stays whole. NumPy's numbers become Python's.
    """
    if hasattr(value, "item") and hasattr(value, "ndim") and value.ndim == 0:
        value = value.item()
    alternatives = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    allowed = [get_origin(each) or each for each in alternatives]
    if not set(allowed) <= set(_NAMES):
        return value
    kinds = {int: (int, float), tuple: (tuple, list, Sequence), list: (list, Sequence)}.get(type(value), (type(value),))
    kinds = (*kinds, Mapping) if isinstance(value, Mapping) else kinds
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}")
    if any(kind in allowed for kind in kinds):
        lists = [each for each in alternatives if get_origin(each) in (list, Sequence)]
        for inner in [inner for each in lists for inner in get_args(each)] if isinstance(value, list | tuple) else []:
            for entry in value:
                checked_value(f"each of {name}", entry, inner)
        return value
    expected = " or ".join(_NAMES[kind] for kind in allowed)
    quoting = f"; in a word, put it into quotes: {name}='\"{value}\"'" if str in allowed else ""
    raise ValueError(f"{name} must be {expected}, got {value!r}{quoting}")


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    Sequence: "a list",
    Mapping: "a mapping",
    type(None): "nothing",
}


class Loaded(Generic[T]):
    """Keeps parts in memory, by their name, options, and the state of their files."""

    def __init__(self) -> None:
        self._known: dict[str, T] = {}

    def get(self, part: Part, options: Any) -> T:
        paths = [value for name, value in vars(options).items() if name in _PATHS and value]
        key = repr((part.factory, options, [_state(Path(path)) for path in paths]))
        if key not in self._known:
            try:
                self._known[key] = part.make(options)
            except _FOREIGN as error:
                # These very types would be faults of ours; their subclasses say what the user can do.
                if type(error) not in _FOREIGN or not paths:
                    raise
                text = " ".join(str(error).split())[:300]
                raise ValueError(f"{paths[0]} can't be used: {type(error).__name__}: {text}") from error
        return self._known[key]

    def forget(self) -> None:
        self._known.clear()


_FOREIGN = (
    *(TypeError, AttributeError, KeyError, IndexError, RuntimeError, NotImplementedError, AssertionError),
    *(ZeroDivisionError, OverflowError),
)
"""What other packages raise over a checkpoint that isn't as they think."""
_PATHS = ("path", "cache_dir", "config", "lora", "decoder")
"""Options that name files or folders."""


def _state(path: Path) -> list[tuple[str, int, int]]:
    """A path's place, and the sizes and times of the files there."""
    place = path.expanduser().resolve()
    inside = [place, *sorted(place.rglob("*"))] if place.is_dir() else [place]
    known = [(str(file), file.stat()) for file in inside if file.exists()]
    return [(str(place), 0, 0), *((file, stat.st_size, stat.st_mtime_ns) for file, stat in known)]
