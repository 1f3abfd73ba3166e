"""The one language that names parts, and options that are declared once."""

import inspect
import subprocess
import sys
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steer_env
from steer_env.generators import GENERATORS, load_generator
from steer_env.generators.options import DiffusionOptions
from steer_env.generators.speed import Speed
from steer_env.humans import HUMANS, PROMPTERS
from steer_env.humans.writers import WRITERS
from steer_env.mechanisms import MECHANISMS
from steer_env.metrics import METRICS
from steer_env.policies.names import POLICIES
from steer_env.registry import Loaded, Part, Registry, build, checked_options, parse_spec

REGISTRIES = (GENERATORS, METRICS, HUMANS, PROMPTERS, WRITERS, MECHANISMS, POLICIES)
PARTS = {f"{parts.kind} {name}": parts[name] for parts in REGISTRIES for name in parts}


class TestLanguage:
    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ("mixture", ("mixture", {})),
            ("a:b=1,c=1.5,d=1e-3,e=true", ("a", {"b": 1, "c": 1.5, "d": 1e-3, "e": True})),
            ("a:f=null,g=word", ("a", {"f": None, "g": "word"})),
            ("a:b=[1,2],c={d: 1, e: [x, y]},f='1,2'", ("a", {"b": [1, 2], "c": {"d": 1, "e": ["x", "y"]}, "f": "1,2"})),
            ("a:path=/x:y=z", ("a", {"path": "/x:y=z"})),
            ('a:metric="clip:path=/x,dtype=float16"', ("a", {"metric": "clip:path=/x,dtype=float16"})),
            ("a:when=2024-01-31", ("a", {"when": "2024-01-31"})),
            ("constant:0.90", ("constant", {"": "0.90"})),
            ({"name": "a", "b": 1}, ("a", {"b": 1})),
        ],
    )  # fmt: skip
    def test_words_and_mappings(self, spec: Any, expected: Any) -> None:
        assert parse_spec(spec) == expected

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("a:b=1,2", "a:b=1,2: '2' is no option with a value"),
            ("a:b=1,b=2", "option 'b' is there twice"),
            ("a:b=[1", r"'\[1' isn't a value as in YAML"),
            ({"b": 1}, "doesn't name a part: add its name"),
            (3, "3 names no part: give a word"),
            (["a"], r"\['a'\] names no part: give a word"),
        ],
    )
    def test_what_is_wrong_is_said(self, spec: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            parse_spec(spec)


@dataclass
class Options:
    size: int
    ratio: float = 0.5
    word: str = ""
    on: bool = False
    rows: list[Any] | None = None
    numbers: list[int] | None = None


def _make(context: str = "", **options: Any) -> dict[str, Any]:
    return {"context": context, **options}


PLAYGROUND: Registry[Part] = Registry("toy", {"toy": Part(Options, f"{__name__}:_make", "size")})


class TestOptions:
    def test_the_factory_gets_the_options_and_what_it_takes_of_the_context(self) -> None:
        made = build(PLAYGROUND, "toy:size=3,ratio=1", {"on": True}, context="here", unused=1)
        assert made == {"context": "here", "size": 3, "ratio": 1, "word": "", "on": True, "rows": None, "numbers": None}

    def test_numbers_of_numpy_become_pythons(self) -> None:
        found = checked_options(Options, {"size": np.int64(3), "ratio": np.float32(0.5), "rows": (1,)}, "toy")
        assert [type(found.size), type(found.ratio)] == [int, float]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sise": 3}, r"^unknown option of toy 'sise'; did you mean 'size'\? There are: size, ratio, "),
            ({"size": 1, "numbers": [1, "2"]}, "^each of numbers must be a whole number, got '2'$"),
            ({}, "^toy needs the option 'size', such as size=…$"),
            ({"size": 1.5}, r"^size must be a whole number, got 1\.5$"),
            ({"size": True}, "^size must be a whole number, got True$"),
            ({"size": "3"}, "^size must be a whole number, got '3'$"),
            ({"size": 1, "on": 1}, "^on must be true or false, got 1$"),
            ({"size": 1, "word": 7}, "^word must be text, got 7; in a word, put it into quotes: word='\"7\"'$"),
            ({"size": 1, "rows": 7}, "^rows must be a list or nothing, got 7$"),
        ],
    )  # fmt: skip
    def test_errors_are_one_line(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            checked_options(Options, options, "toy")

    @pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
    def test_they_are_what_the_constructor_takes(self, part: Part) -> None:
        module, _, name = part.factory.partition(":")
        taken = inspect.signature(getattr(import_module(module), name)).parameters
        own = {field.name: field.default for field in fields(part.options)}
        wide = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        together = "options" in taken and taken["options"].annotation == part.options.__name__
        assert wide or together or own.keys() <= taken.keys()
        for option, default in own.items():
            if option in taken and MISSING is not default and taken[option].default is not inspect.Parameter.empty:
                assert taken[option].default == default, option

    def test_what_makes_a_generator_faster_is_off_in_both_places(self) -> None:
        assert vars(Speed()).items() <= vars(DiffusionOptions()).items()

    @pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
    def test_each_is_explained(self, part: Part) -> None:
        kinds = [kind for kind in part.options.__mro__ if kind is not object]
        text = " ".join(inspect.getdoc(kind) or "" for kind in kinds)
        assert not [field.name for field in fields(part.options) if field.name not in text]


class TestSharing:
    def test_what_a_path_leads_to_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        @dataclass
        class WithPath:
            path: str = ""

        loaded: Loaded[object] = Loaded()
        part = Part(WithPath, f"{__name__}:_make")

        def get() -> object:
            return loaded.get(part, WithPath("model"))

        found = []
        for name in ("a", "b"):
            (tmp_path / name / "model").mkdir(parents=True)
            (tmp_path / name / "model" / "weights").write_text(name)
            monkeypatch.chdir(tmp_path / name)
            found.append(get())
            assert get() is found[-1]
        assert found[0] is not found[1]
        (tmp_path / "b" / "model" / "weights").write_text("longer")
        assert get() is not found[1]

    def test_the_same_options_in_any_form(self) -> None:
        one = load_generator("tiles:steps=1")
        assert load_generator({"name": "tiles", "steps": 1}) is load_generator("tiles", steps=1) is one
        assert load_generator("tiles:steps=1,device=cpu", device="auto", dtype="auto") is one
        assert load_generator(one) is one


class TestFace:
    def test_every_public_name_is_there(self) -> None:
        assert len(steer_env.__all__) == 18
        assert all(getattr(steer_env, name) for name in steer_env.__all__)
        assert set(steer_env.__all__) <= set(dir(steer_env))
        with pytest.raises(AttributeError, match="has no attribute 'load_polic'"):
            _ = steer_env.load_polic
        assert steer_env.load_policy("constant:0.9").name == "constant 0.9"

    def test_names_and_options_need_no_torch(self) -> None:
        modules = "generators, metrics, humans, humans.writers, mechanisms, policies.names, tasks"
        code = "import sys\n" + "\n".join(f"import steer_env.{name}" for name in modules.split(", "))
        code += "\nprint('torch' in sys.modules)"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert found.strip() == "False"
