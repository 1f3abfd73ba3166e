"""What is loaded from others: safetensors alone, no code of a checkpoint, and our own assets by their hashes."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from steer_env import assets
from tests.test_imports import ROOT

SOURCES = [path for name in ("steer_env", "agents", "experiments") for path in sorted((ROOT / name).rglob("*.py"))]
_ASKING = ("AutoModel", "AutoTokenizer", "AutoConfig", "CLIPImageProcessor")
"""Classes of transformers that may run a checkpoint's own code."""


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}", node


def test_no_code_of_a_checkpoint_is_run_and_nobody_is_asked_to() -> None:
    found = [(place, call) for place, call in calls("from_pretrained") if f"{ast.unparse(call)}".startswith(_ASKING)]
    assert len(found) >= 5
    for place, call in found:
        source = (ROOT / place.split(":")[0]).read_text()
        given = {each.arg for each in call.keywords}
        assert "trust_remote_code" in given or (None in given and '"trust_remote_code": False' in source), place
    assert not [path for path in SOURCES if "trust_remote_code=True" in path.read_text()]


def test_nothing_is_unpickled() -> None:
    for place, call in calls("load"):
        if ast.unparse(call.func) == "torch.load":
            assert ("weights_only", True) in {
                (each.arg, getattr(each.value, "value", None)) for each in call.keywords
            }, place
        if ast.unparse(call.func) in ("np.load", "numpy.load"):
            assert "allow_pickle=True" not in ast.unparse(call), place
        assert ast.unparse(call.func) not in ("yaml.load", "pickle.load", "joblib.load", "dill.load"), place
    assert not [place for place, call in calls("loads") if not ast.unparse(call.func).startswith("json.")]


@pytest.mark.parametrize("name", [path.name for path in assets.ROOT.iterdir() if (path / "manifest.json").is_file()])
def test_an_asset_is_known_by_its_hash(name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    shutil.copytree(assets.ROOT / name, copy)
    assert assets.verified(assets.ROOT / name)
    file = max((path for path in copy.rglob("*") if path.name != "manifest.json"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises((ValueError, OSError, RuntimeError), match=file.name):
        assets.verified(copy)


def test_weights_are_safetensors() -> None:
    shipped = [path for folder in assets.ROOT.iterdir() if folder.name[0] not in "_." for path in folder.rglob("*.*")]
    assert {path.suffix for path in shipped} <= {".safetensors", ".json", ".md", ".txt", ".csv", ".png"}
