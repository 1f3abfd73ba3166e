"""Pages that are made from the code: one for each part, agent, command, group and public name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import steer_env
from experiments.run.help import described, inner
from experiments.run.options import (
    CONF,
    AgentOptions,
    LauncherOptions,
    LoggerOptions,
    choices,
    commands,
    groups_of,
    kinds,
    lead_of,
)
from steer_env.generators import GENERATORS
from steer_env.humans import HUMANS, PROMPTERS
from steer_env.humans.writers import WRITERS
from steer_env.imaging import STUDIOS
from steer_env.mechanisms import MECHANISMS
from steer_env.metrics import METRICS
from steer_env.policies.names import POLICIES
from steer_env.registry import Parts

ROOT = Path(__file__).parents[2]
Page = Callable[[], str]

ENVIRONMENTS = {
    "steer_env/ImageSteering-v0": ("steer_env.envs", "ImageSteeringEnv", ["", 'action="scale"', 'observe=["image"]']),
    "steer_env/TextSteering-v0": ("steer_env.envs", "TextSteeringEnv", ["", 'choose=["seed", "guidance"]']),
}
"""Id → where its class is, and arguments that change its spaces."""
CATALOGUE: dict[str, tuple[str, str, Parts]] = {
    "generators": ("generator", "What makes the images.", GENERATORS),
    "metrics": ("metric", "How similar two images are: for users, for the reward, and for judges.", METRICS),
    "users": ("human", "Who chooses among images.", HUMANS),
    "prompters": ("", "Who writes prompts for the embedded domain, by rule.", PROMPTERS),
    "writers": ("writer", "Language models that write prompts.", WRITERS),
    "mechanisms": ("mechanism", "How the proposals of a round are drawn.", MECHANISMS),
    "policies": ("", "What decides the mixture scale of each round, by name, in lists such as `policies=`.", POLICIES),
    "studios": ("studio", "Where images are made.", STUDIOS),
}
"""Folder of pages → its group on the command line, what its parts are, and the parts."""
GROUPS: dict[str, tuple[str, type | None]] = {
    "agent": ("How a policy is learned.", AgentOptions),
    "launcher": ("Where the jobs of a sweep run.", LauncherOptions),
    "logger": ("Where the course of a training is logged.", LoggerOptions),
    "experiment": ("Overlays over all options, such as the paper's setting.", None),
    "setting": ("What overlays are made of.", None),
    "space": ("Where `experiments.tune` searches, for each agent.", None),
}
"""Group of conf/ → what its files are, and the class of their options."""


def pages() -> dict[str, Page]:
    """Path of each page below the site's root, without its ending → what writes its text."""
    made: dict[str, Page] = {"reference/index": _contents}
    for name in ENVIRONMENTS:
        made[f"reference/environments/{slug(name)}"] = partial(_environment, name)
    for folder, (group, _, parts) in CATALOGUE.items():
        made |= {f"reference/{folder}/{name}": partial(_part, group, name, parts) for name in parts}
    for group in GROUPS:
        made |= {f"reference/{group}/{name}": partial(_choice, group, name) for name in choices(group)}
    made |= {f"reference/commands/{name}": partial(_command, name, module) for name, module in commands().items()}
    made |= {f"reference/api/{name}": partial(_public, name) for name in steer_env.__all__}
    made |= {f"reference/modules/{name}": partial(_module, name) for name in modules()}
    for folder in sorted({path.split("/")[1] for path in made if path.count("/") == 2}):
        made[f"reference/{folder}/index"] = partial(_folder, folder, [p for p in made if p.split("/")[1] == folder])
    return made


def slug(name: str) -> str:
    """The last part of a page's path."""
    return name.rpartition("/")[2]


def modules() -> list[str]:
    """Of the package, each with a docstring; private ones aside."""
    files = sorted((ROOT / "steer_env").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return [name for name in names if not name.rpartition(".")[2].startswith("_")]


# Pages ---------------------------------------------------------------------------------------------------------------


def _contents() -> str:
    folders = ["environments", *CATALOGUE, *GROUPS, "commands", "api", "modules"]
    return "\n\n".join(
        [
            "(reference)=\n# Reference",
            "Every part by its name, with its options. A part is a word, a mapping or an object, the same everywhere: "
            '`"bayesian:pool=96"`, `{"name": "bayesian", "pool": 96}`, or an object of your own.',
            _tree([f"{folder}/index" for folder in folders]),
        ]
    )


def _folder(folder: str, paths: Sequence[str]) -> str:
    title, lead = _titles(folder)
    return "\n\n".join([f"(parts-{folder})=\n# {title}", lead, _tree(slug(path) for path in paths)])


def _titles(folder: str) -> tuple[str, str]:
    if folder in CATALOGUE:
        group, lead, _ = CATALOGUE[folder]
        return folder.capitalize(), lead + (f" On the command line `{group}=NAME`." if group else "")
    if folder in GROUPS:
        return f"Group `{folder}`", f"{GROUPS[folder][0]} On the command line `{folder}=NAME`."
    return {
        "environments": ("Environments", "Registered with Gymnasium by `import steer_env`."),
        "commands": ("Commands", "In a checkout, `python -m experiments.NAME OPTION=VALUE …`."),
        "api": ("Public names", "Of `steer_env` itself; each is imported when it is used."),
        "modules": ("Modules", "All that the package has, by module."),
    }[folder]


def _environment(name: str) -> str:
    module, kind, variants = ENVIRONMENTS[name]
    rows = [["arguments", "action space", "observation space"]]
    for words in variants:
        env = eval(f"gymnasium.make({name!r}, {words})", {"gymnasium": import_module("gymnasium")})
        rows.append([f"`{words}`" if words else "none", f"`{env.action_space}`", f"`{env.observation_space}`"])
    made = getattr(import_module(module), kind)
    body = markdown(inspect.getdoc(made) or "").replace("\n### ", "\n## ")
    return "\n\n".join(
        [
            f"# {kind}",
            f'```python\nenv = gymnasium.make("steer_env:{name}")\n```',
            f"![An episode, a round a row](../pictures/{slug(name)}.png)" if kind == "ImageSteeringEnv" else "",
            body,
            "## Spaces, as made",
            table(rows),
            f"The class: {{py:obj}}`{made.__module__}.{kind}`.",
        ]
    )


def _part(group: str, name: str, parts: Parts) -> str:
    part = parts[name]
    module, _, attribute = part.factory.partition(":")
    factory = getattr(import_module(module), attribute)
    first = [f"`{group}={name}`"] if group else []
    own = [field.name for field in fields(part.options)]
    example = f'`"{name}:{own[0]}=…"`' if own else f'`"{name}"`'
    written = [["on the command line", *first]] if group else []
    written.append(["in lists and in Python", f'`"{name}:…"`' if part.positional else example])
    lead = markdown(lead_of(factory)) if "See :class:" not in lead_of(factory) else ""
    return "\n\n".join(
        text
        for text in [
            f"# {name}",
            lead or markdown(lead_of(part.options)),
            table([["where", "how"], *written]),
            f"![{name}](../pictures/{name}.png)" if name in PICTURES else "",
            *_options("## Options", described(part.options, f"{group or name}.")),
            f"Made by {{py:obj}}`{module}.{attribute}`." if not attribute.startswith("_") else "",
        ]
        if text
    )


DRAWN = ("mixture", "feedback", "bayesian", "learned")
PICTURES = ("tiles", *DRAWN)
"""Parts whose pages show a picture."""


def _choice(group: str, name: str) -> str:
    text = (CONF / group / f"{name}.yaml").read_text()
    base = GROUPS[group][1]
    schema = next(iter(re.findall(r"(\w+)_schema", text)), "")
    classes = [kind for kind in kinds(base) if kind.__name__.removesuffix("Options").lower() == schema] if base else []
    lead = markdown(lead_of(classes[0])) if classes else " ".join(re.findall(r"^# (.*)$", text, flags=re.MULTILINE))
    options = [option for kind in classes for option in described(kind, f"{group}.")]
    page = [f"# {name}", lead, f"`{group}={name}`", f"```yaml\n{text}```", *_options("## Options", options)]
    return "\n\n".join(page)


def _command(name: str, module: str) -> str:
    main: Any = import_module(module).main
    kind: type = main.options
    page = [f"# {name}", f"`python -m experiments.{name} OPTION=VALUE …`", markdown(lead_of(kind))]
    lead = import_module(module).__doc__ or ""
    groups = groups_of(kind)
    chosen = [
        [f"`{group}=`", f"`{default}`", f"{{ref}}`{', '.join(choices(group))} <parts-{_place(group)}>`"]
        for group, (default, _) in groups.items()
    ]
    page += _options("## Options", described(kind, "", skip=groups))
    for own, places in inner(kind).items():
        page += [f"## `{'`, `'.join(places)}`", markdown(lead_of(own))]
        page += _options("", described(own, f"{next(iter(places))}.", list(places.values())))
    if chosen:
        page += ["## Groups", table([["group", "default", "choices"], *chosen])]
    return "\n\n".join([*page, f"In the source: {markdown(lead.splitlines()[0])}" if lead else ""])


def _place(group: str) -> str:
    """The label of the page that lists a group's choices."""
    folders = {own: folder for folder, (own, _, _) in CATALOGUE.items() if own}
    return folders.get("writer" if group == "model" else group, group)


def _public(name: str) -> str:
    if inspect.ismodule(getattr(steer_env, name)):
        return f"# {name}\n\n{{doc}}`/reference/modules/steer_env.{name}`"
    directive = "autoclass" if inspect.isclass(getattr(steer_env, name)) else "autofunction"
    members = "\n   :members:\n   :inherited-members: object" if directive == "autoclass" else ""
    return f"# {name}\n\n```{{eval-rst}}\n.. {directive}:: steer_env.{name}\n   :no-index:{members}\n```"


def _module(name: str) -> str:
    options = "".join(f"\n   :{option}:" for option in ("members", "ignore-module-all", "show-inheritance"))
    return f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}{options}\n```"


# Pieces --------------------------------------------------------------------------------------------------------------


def _options(title: str, options: Iterable[tuple[str, str, str, str, str]]) -> list[str]:
    """A table of options, under a title if there is one."""
    rows = [["option", "type", "default", "range", "meaning"]]
    for name, kind, default, limits, text in options:
        shown = default if default == "required" else f"`{default}`"
        rows.append([f"`{name}`", f"`{kind}`", shown, limits, markdown(text)])
    return [*([title] if title else []), table(rows)] if len(rows) > 1 else []


def _tree(entries: Any) -> str:
    return "\n".join(["```{toctree}", ":maxdepth: 1", "", *entries, "```"])


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], ["---"] * len(cells[0]), *cells[1:]])


def markdown(docstring: str) -> str:
    """A docstring's roles as code.

    >>> markdown("See :class:`~steer_env.types.Task`, ``{x}``.")
    'See `steer_env.types.Task`, ``{x}``.'
    """
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", docstring)
