"""What a stranger's ONNX graph may hold. All of it is checked, and its cost is known, before anything of it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

LARGEST = 32 << 20
"""Bytes of a graph with its weights: eight million of them."""
NODES = 4096
ELEMENTS = 1 << 25
"""Of all tensors together that an action takes: 128 MiB in float32."""
WORK = 1 << 28
"""Multiplications that an action takes: well below a second."""
STATE = "state"
"""How the names of inputs begin that are the outputs ``next_…`` of the round before, and zero in the first round."""
_EASY = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BatchNormalization Cast CastLike Ceil Celu Clip Concat Constant
ConstantOfShape Cos Cosh CumSum Div Dropout Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements
GatherND Gelu GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity
InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Max Mean Min Mish Mod
Mul Neg Not OneHot Or PRelu Pad Pow RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax
ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round ScatterElements ScatterND Selu Shape
Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tan Tanh Tile Transpose
Trilu Unsqueeze Where Xor ArgMax ArgMin TopK AveragePool MaxPool
"""
_HARD = "Conv ConvTranspose Einsum GRU Gemm LSTM MatMul RNN"
"""Operators whose work isn't that of their largest tensor."""
OPERATORS = frozenset([*_EASY.split(), *_HARD.split()])
"""Of ONNX's own: no loops, branches, sequences, strings or random numbers, and nothing whose size depends on values."""
_FLOAT = 1
"""ONNX's number for float32."""


@dataclass(frozen=True)
class Signature:
    """Shapes of a graph's inputs and outputs by name, without the episodes: float32 (1, …) each."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


def inspect(content: bytes) -> Signature:
    """Check a graph to the last node.

    Args:
        content: of the file.

    Raises:
        ValueError: what isn't allowed in it, in one line.
        ImportError: the package onnx isn't installed.
    """
    import onnx
    from onnx import shape_inference

    if len(content) > LARGEST:
        raise ValueError(f"the graph is larger than {LARGEST} bytes")
    try:
        model = onnx.load_model_from_string(content)
    except Exception:
        raise ValueError("it is no ONNX graph") from None
    _check_model(model)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    for value in (*inputs, *graph.output):
        _check_float(value)
    for value in inputs:
        _set_one_episode(value)
    try:
        onnx.checker.check_model(model)
        # What the file says of sizes inside is left aside: they are computed.
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
        model = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ValueError(f"the graph is wrong: {_one_line(error)}") from None
    shapes = _shapes(model.graph)
    _check_cost(model.graph, shapes)
    return Signature(*({value.name: shapes[value.name][1:] for value in part} for part in (inputs, model.graph.output)))


def _check_model(model: ModelProto) -> None:
    from onnx import defs

    if model.functions or model.training_info or model.graph.sparse_initializer or model.graph.quantization_annotation:
        raise ValueError("a graph may hold nodes and plain weights alone: no functions, training or sparse weights")
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx") or not 9 <= opset.version <= defs.onnx_opset_version():
            raise ValueError(f"operators of {opset.domain or 'ONNX'!r} {opset.version} aren't allowed")
    if not 1 <= len(model.graph.node) <= NODES:
        raise ValueError(f"a graph may have 1 to {NODES} nodes, got {len(model.graph.node)}")
    for tensor in model.graph.initializer:
        _check_tensor(tensor)
    for node in model.graph.node:
        _check_node(node)


def _check_node(node: NodeProto) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        name = f"{node.domain}.{node.op_type}".strip(".")[:60]
        raise ValueError(f"the operator {name!a} isn't allowed; allowed are the plain ones of ONNX without loops")
    for attribute in node.attribute:
        if (
            attribute.HasField("g")
            or attribute.graphs
            or attribute.HasField("sparse_tensor")
            or attribute.ref_attr_name
        ):
            raise ValueError(f"the operator {node.op_type} may hold no graph or sparse tensor inside")
        if attribute.HasField("t"):
            _check_tensor(attribute.t)


def _check_tensor(tensor: TensorProto) -> None:
    from onnx import TensorProto, helper

    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"the weights {tensor.name[:40]!a} lie in another file: all must be in the graph")
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise ValueError(f"the weights {tensor.name[:40]!a} are no numbers")
    size = prod(tensor.dims)
    if any(dim < 0 for dim in tensor.dims) or size > ELEMENTS:
        raise ValueError(f"the weights {tensor.name[:40]!a} have the shape {list(tensor.dims)[:8]}: too many")
    if (
        tensor.HasField("raw_data")
        and len(tensor.raw_data) != size * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    ):
        raise ValueError(f"the weights {tensor.name[:40]!a} aren't as many as their shape says")


def _check_float(value: ValueInfoProto) -> None:
    if not value.type.HasField("tensor_type") or value.type.tensor_type.elem_type != _FLOAT:
        raise ValueError(f"{value.name[:40]!a} must be a float32 tensor, as all inputs and outputs")


def _set_one_episode(value: ValueInfoProto) -> None:
    dims = value.type.tensor_type.shape.dim
    if not dims or not 1 <= len(dims) <= 8:
        raise ValueError(f"input {value.name[:40]!a} must have 1 to 8 dimensions, the first of them the episodes")
    if dims[0].dim_value > 1:
        raise ValueError(
            f"input {value.name[:40]!a} is of {dims[0].dim_value} episodes: it must take one, or any number"
        )
    dims[0].dim_value = 1
    for dim in list(dims)[1:]:
        if not 1 <= dim.dim_value <= ELEMENTS:
            raise ValueError(f"input {value.name[:40]!a} must have a fixed size but for the number of episodes")


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Of every tensor; a ValueError for one whose size depends on values."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes.setdefault(value.name, tuple(dim.dim_value for dim in tensor.shape.dim))
    for node in graph.node:
        for name in node.output:
            if name and name not in shapes:
                raise ValueError(f"the size of {name[:40]!a}, of the operator {node.op_type}, isn't known beforehand")
    return shapes


def _check_cost(graph: GraphProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    elements = sum(prod(shape) for shape in shapes.values())
    if elements > ELEMENTS or any(dim < 0 for shape in shapes.values() for dim in shape):
        raise ValueError(f"an action takes tensors of {elements} elements; allowed are {ELEMENTS}")
    work = sum(_work(node, [shapes[name] for name in node.input if name], shapes) for node in graph.node)
    if work > WORK:
        raise ValueError(f"an action takes {work} multiplications; allowed are {WORK}")


def _work(node: NodeProto, inputs: list[tuple[int, ...]], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications of a node, or more."""
    made = max((prod(shapes[name]) for name in node.output if name), default=0)
    if node.op_type in ("MatMul", "Gemm"):
        return made * max(inputs[0], default=1)
    if node.op_type in ("Conv", "ConvTranspose"):
        return max(made, prod(inputs[0])) * prod(inputs[1][1:])
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return (prod(inputs[1]) + prod(inputs[2])) * prod(inputs[0][:2])
    if node.op_type == "Einsum":
        return _einsum(node, inputs)
    if node.op_type in ("AveragePool", "MaxPool"):
        return made * prod(_kernel(node))
    return max([made, *map(prod, inputs)])


def _einsum(node: NodeProto, inputs: list[tuple[int, ...]]) -> int:
    """One multiplication for each combination of indices; more than is allowed where some have no letter."""
    (equation,) = (attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if "." in equation or [len(term) for term in terms] != [len(shape) for shape in inputs]:
        return WORK + 1
    return prod(
        {
            letter: size
            for term, shape in zip(terms, inputs, strict=True)
            for letter, size in zip(term, shape, strict=True)
        }.values()
    )


def _kernel(node: NodeProto) -> Iterator[int]:
    return (max(1, size) for attribute in node.attribute if attribute.name == "kernel_shape" for size in attribute.ints)


def _one_line(error: Any) -> str:
    return " ".join(str(error).split())[:200]
