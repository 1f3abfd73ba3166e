"""Policies as networks: what they are given and asked, alone and in batches; and what a stranger's may not hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason='needs pip install "steer-env[onnx]"')
pytest.importorskip("onnxruntime", reason='needs pip install "steer-env[onnx]"')
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from steer_env.evaluation.rollout import check_fit, make_env, options_for, play  # noqa: E402
from steer_env.policies import read_policy  # noqa: E402
from steer_env.policies.graphs import ELEMENTS, inspect  # noqa: E402
from steer_env.policies.networks import GRAPH_FILE, NetworkPolicy  # noqa: E402
from steer_env.policies.stored import POLICY_FILE, PolicyError  # noqa: E402
from steer_env.testing import check_policy  # noqa: E402

F = TensorProto.FLOAT


def tensor(name: str, values: Any, kind: type = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype=kind), name)


def graph(
    nodes: list[Any],
    inputs: dict[str, tuple[Any, ...]],
    outputs: dict[str, tuple[Any, ...]],
    weights: tuple[Any, ...] = (),
    opset: int = 17,
    **options: Any,
) -> bytes:
    values = [
        [helper.make_tensor_value_info(name, F, shape) for name, shape in part.items()] for part in (inputs, outputs)
    ]
    made = helper.make_graph(nodes, "policy", *values, list(weights))
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8, **options).SerializeToString()


def scheduled(scales: list[float]) -> bytes:
    """A scale for each round: a matrix product with the round, one-hot."""
    weights = tensor("scales", np.array([*scales, 0.0])[:, None])
    return graph(
        [helper.make_node("MatMul", ["round", "scales"], ["action"])],
        {"round": ("n", 5)},
        {"action": ("n", 1)},
        (weights,),
    )


def counting() -> bytes:
    """Its state counts the rounds, and is the scale in tenths."""
    nodes = [
        helper.make_node("Add", ["state_count", "one"], ["next_state_count"]),
        helper.make_node("Mul", ["next_state_count", "tenth"], ["action"]),
    ]
    weights = (tensor("one", [[1.0]]), tensor("tenth", [[0.1]]))
    return graph(nodes, {"state_count": (1, 1)}, {"action": (1, 1), "next_state_count": (1, 1)}, weights)


def noisy(d: int = 8) -> bytes:
    """Directions at random, two rows of 1 + d, from an input that is standard normal."""
    nodes = [
        helper.make_node("Tanh", ["noise"], ["squashed"]),
        helper.make_node("Reshape", ["squashed", "shape"], ["action"]),
    ]
    return graph(
        nodes, {"noise": ("n", 2 * (1 + d))}, {"action": ("n", 2, 1 + d)}, (tensor("shape", [-1, 2, 1 + d], np.int64),)
    )


def seeing() -> bytes:
    """Flat: a fifth of the rounds played, of round (5), stayed (2), shown (4·3·96), chosen (12) and played (4)."""
    size = 5 + 2 + 4 * 3 * 96 + 12 + 4
    row = np.zeros((size, 1))
    row[-4:] = 0.2
    return graph(
        [helper.make_node("MatMul", ["observation", "row"], ["action"])],
        {"observation": (1, size)},
        {"action": (1, 1)},
        (tensor("row", row),),
    )


DIRECTIONS = "directions:dimensions=8,leash=0.9"
GOOD: dict[str, Callable[[], NetworkPolicy]] = {
    "schedule": lambda: NetworkPolicy("net schedule", scheduled([1.0, 0.8, 0.6, 0.4]), "scale"),
    "state": lambda: NetworkPolicy("net state", counting(), "scale"),
    "noise": lambda: NetworkPolicy("net noise", noisy(), DIRECTIONS),
    "seeing": lambda: NetworkPolicy("net seeing", seeing(), "scale", ["history"]),
}


@pytest.mark.parametrize("name", GOOD)
def test_networks_are_good_policies(name: str) -> None:
    check_policy(GOOD[name])


def test_what_they_decide_is_played(tmp_path: Path) -> None:
    scales = [0.1, 0.2, 0.3, 0.4]
    for name, expected in (("schedule", [1.0, 0.8, 0.6, 0.4]), ("state", scales), ("seeing", [0.0, 0.2, 0.4, 0.6])):
        policy = GOOD[name]()
        policy.save(tmp_path / name)
        stored = read_policy(tmp_path / name)
        assert stored.content() == policy.content()
        env = make_env(2, **options_for([stored], {"suite": "tiles-val-v1"}))
        for trace in play(env, [stored], [1, 2], [3, 4]):
            assert trace.scales == pytest.approx(expected, abs=1e-6)
            assert trace.policy == policy.name


def test_directions_of_a_network_depend_on_the_episodes_seed_alone() -> None:
    policy = GOOD["noise"]()
    options = options_for([policy], {"suite": "tiles-val-v1", "rounds": 2})
    together = play(make_env(3, **options), [policy], [1, 2, 3], [5, 6, 7])
    (alone,) = play(make_env(1, **options), [policy], [2], [6])
    assert alone.actions == together[1].actions
    assert together[0].actions != together[1].actions
    assert together[0].actions[0] != together[0].actions[1]


def test_buckets_and_what_is_no_number() -> None:
    bucket = graph(
        [
            helper.make_node("Mul", ["round", "places"], ["m"]),
            helper.make_node("ReduceSum", ["m", "axis"], ["action"], keepdims=1),
        ],
        {"round": ("n", 5)},
        {"action": ("n", 1)},
        (tensor("places", [[3, 20, -4, np.nan, 0]]), tensor("axis", [1], np.int64)),
    )
    policy = NetworkPolicy("buckets", bucket, "bucket")
    policy.start([0])
    found = [float(policy.act({"round": np.array([place]), "stayed": np.array([0])})[0]) for place in range(4)]
    # Not a number anywhere in the row makes the sum so, which counts as bucket 0.
    assert found == [0.1] * 4


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("schedule", {"rounds": 3}, r"input round has the shape \(5,\), here it is \(4,\)"),
        ("noise", {"proposals": 3}, r"the action has the shape \(2, 9\), here it is \(3, 9\)"),
        ("seeing", {"proposals": 3}, r"input observation has the shape \(1175,\), here it is \(1563,\)"),
        ("noise", {"mechanism": "feedback"}, "mechanism must be mixture, got feedback"),
    ],
)
def test_one_that_was_made_for_another_environment_is_refused(
    policy: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        check_fit(GOOD[policy](), options)


def node(kind: str, *inputs: str, **attributes: Any) -> list[Any]:
    return [helper.make_node(kind, inputs, ["action"], **attributes)]


def plain(nodes: list[Any], *weights: Any, shape: tuple[Any, ...] = ("n", 1), **options: Any) -> bytes:
    return graph(nodes, {"round": ("n", 5)}, {"action": shape}, weights, **options)


def external() -> bytes:
    weights = tensor("scales", np.ones((5, 1)))
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    weights.ClearField("raw_data")
    return plain(node("MatMul", "round", "scales"), weights)


def endless() -> bytes:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x", F, ("n", 5)),
        ],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, ()), helper.make_tensor_value_info("y", F, ("n", 5))],
    )
    nodes = [helper.make_node("Loop", ["", "yes", "round"], ["action"], body=body)]
    return plain(nodes, tensor("yes", True, np.bool_), shape=("n", 5))


def declared() -> bytes:
    weights = tensor("scales", np.ones((5, 1)))
    weights.dims[:] = [5, 1 << 40]
    return plain(node("MatMul", "round", "scales"), weights, shape=("n", 1 << 40))


def squares(size: int, count: int) -> bytes:
    """A chain of products of matrices that no file holds: they are made from their shape."""
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["m0"], value=tensor("one", [1.0]))]
    nodes += [helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(count)]
    nodes.append(helper.make_node("ReduceSum", [f"m{count}"], ["action"], keepdims=1))
    return plain(nodes, tensor("shape", [size, size], np.int64), shape=(1, 1))


def by_value() -> bytes:
    """As many elements as the input says."""
    nodes = [
        helper.make_node("Cast", ["round"], ["many"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["many", "flat"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["action"], keepdims=0),
    ]
    return plain(nodes, tensor("flat", [-1], np.int64), shape=())


def lying() -> bytes:
    """Says itself that a tensor of a trillion elements is small."""
    nodes = [
        helper.make_node("Expand", ["round", "shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["action"], keepdims=0),
    ]
    model = onnx.load_model_from_string(plain(nodes, tensor("shape", [1 << 40, 1, 5], np.int64), shape=()))
    model.graph.value_info.append(helper.make_tensor_value_info("huge", F, (1, 1, 5)))
    return bytes(model.SerializeToString())


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no graph": (lambda: b"\x80\x04pickle", "it is no ONNX graph"),
    "nothing": (lambda: b"", "a graph may have 1 to 4096 nodes, got 0"),
    "external data": (external, "the weights 'scales' lie in another file"),
    "custom operator": (
        lambda: plain(node("Evil", "round", domain="com.evil")),
        "the operator 'com.evil.Evil' isn't allowed",
    ),
    "microsoft's": (
        lambda: plain(node("FusedMatMul", "round", "round", domain="com.microsoft")),
        "FusedMatMul' isn't allowed",
    ),
    "endless loop": (endless, "the operator 'Loop' isn't allowed"),
    "random numbers": (lambda: plain(node("RandomNormalLike", "round")), "RandomNormalLike' isn't allowed"),
    "size by value": (lambda: plain(node("NonZero", "round")), "'NonZero' isn't allowed"),
    "terabytes declared": (declared, "the weights 'scales' have the shape .*: too many"),
    "memory": (lambda: squares(1 << 20, 1), "an action takes tensors of .* elements; allowed are"),
    "time": (lambda: squares(1000, 8), "an action takes .* multiplications; allowed are"),
    "made as the input says": (by_value, "the size of 'huge', of the operator ConstantOfShape, isn't known"),
    "a lie about a size": (lying, "the graph is wrong|an action takes tensors of"),
    "many nodes": (
        lambda: plain([helper.make_node("Identity", ["round"], [f"x{i}"]) for i in range(5000)]),
        "a graph may have 1 to 4096 nodes, got 5000",
    ),
    "huge input": (
        lambda: graph(node("ReduceSum", "round"), {"round": ("n", 1 << 40)}, {"action": ("n", 1)}),
        "input 'round' must have a fixed size",
    ),
    "any input": (
        lambda: graph(node("ReduceSum", "round"), {"round": ("n", "m")}, {"action": ("n", 1)}),
        "input 'round' must have a fixed size",
    ),
    "two episodes": (
        lambda: graph(node("Relu", "round"), {"round": (2, 5)}, {"action": (2, 5)}),
        "input 'round' is of 2 episodes",
    ),
    "not wired": (lambda: plain(node("Relu", "nowhere")), "the graph is wrong"),
    "old": (lambda: plain(node("Relu", "round"), opset=3), "operators of 'ONNX' 3 aren't allowed"),
    "functions": (
        lambda: plain(
            node("Relu", "round"),
            functions=[helper.make_function("f", "F", ["x"], ["y"], [], [helper.make_opsetid("", 17)])],
        ),
        "no functions, training or sparse weights",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_graphs_are_refused_in_one_line_before_they_run(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("it must not be loaded")

    monkeypatch.setattr(onnxruntime, "InferenceSession", run)
    make, message = HOSTILE[kind]
    with pytest.raises(PolicyError, match=message) as caught:
        NetworkPolicy("hostile", make(), "scale")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_graph_too_large_isnt_even_parsed() -> None:
    with pytest.raises(ValueError, match="larger than"):
        inspect(bytes(40 << 20))
    assert ELEMENTS * 4 <= 1 << 28


@pytest.mark.parametrize(
    ("make", "action", "observe", "message"),
    [
        (lambda: scheduled([1.0] * 4), "scalez", [], "unknown kind of action 'scalez'; did you mean 'scale'"),
        (lambda: scheduled([1.0] * 4), "scale", ["goal"], "unknown observation 'goal'"),
        (seeing, "directions", ["history"], ""),
        (
            lambda: graph(node("Identity", "embedding"), {"embedding": (1, 1)}, {"action": (1, 1)}),
            "scale",
            [],
            "unknown input 'embedding'; with these observations there are: round, stayed",
        ),
        (
            lambda: graph([helper.make_node("Identity", ["round"], ["act"])], {"round": (1, 5)}, {"act": (1, 5)}),
            "scale",
            [],
            "outputs must be action, got act",
        ),
        (
            lambda: graph(node("Identity", "round"), {"round": (1, 5)}, {"action": (1, 5)}),
            "scale",
            [],
            "an action scale is one number, got the shape",
        ),
    ],
)
def test_names_and_kinds_that_do_not_exist(make: Any, action: str, observe: list[str], message: str) -> None:
    if not message:
        check = pytest.raises(PolicyError, match="the action has the shape")
        with check:
            check_fit(NetworkPolicy("mine", make(), action, observe), {})
        return
    with pytest.raises(PolicyError, match=message):
        NetworkPolicy("mine", make(), action, observe)


def test_a_stored_network_is_checked_against_its_card(tmp_path: Path) -> None:
    GOOD["state"]().save(tmp_path)
    record = json.loads((tmp_path / POLICY_FILE).read_text())
    assert record["kind"] == "network"
    (tmp_path / GRAPH_FILE).write_bytes(scheduled([0.5] * 4))
    with pytest.raises(PolicyError, match=r"isn't the graph that policy.json names"):
        read_policy(tmp_path)
    (tmp_path / GRAPH_FILE).unlink()
    with pytest.raises(PolicyError, match=r"there is no file policy.onnx"):
        read_policy(tmp_path)
    (tmp_path / "elsewhere.onnx").write_bytes(counting())
    (tmp_path / GRAPH_FILE).symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(PolicyError):
        read_policy(tmp_path)
