"""What other packages need before they are imported together, or to keep silent."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_OPERATORS = ("nms", "qnms")
_declared: list[Any] = []
"""An operator is forgotten together with the library that declares it."""


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Undo, while it lasts, what other libraries have set for the whole process.

    New tensors are float32 and on the CPU, and products of float32 matrices are computed in float32, also inside
    another's ``torch.autocast``.
    """
    import torch

    before = torch.get_default_dtype()
    with ExitStack() as undone:
        undone.callback(torch.set_default_dtype, before)
        _remember_precision(undone)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                undone.enter_context(torch.autocast(kind, enabled=False))
        # Even where it changes nothing, it would slow every operation.
        if torch.get_default_device().type != "cpu":
            undone.enter_context(torch.device("cpu"))
        yield


def _remember_precision(undone: ExitStack) -> None:
    """The precision of products of matrices comes back in the end, by whichever of torch's two ways it was set."""
    import torch

    try:
        undone.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
    except RuntimeError:
        backends: Any = torch.backends
        for place in (backends.mkldnn.matmul, backends.cuda.matmul):
            undone.callback(setattr, place, "fp32_precision", place.fp32_precision)


def mend_torchvision() -> None:
    """Make torchvision importable beside a torch of another build, such as CUDA's torchvision beside a CPU torch.

    Such a torchvision can't load its compiled operators and fails on import, and with it whatever in transformers and
    diffusers looks for it. Nothing here calls those operators, so declaring them is enough. On a good pair, or without
    torchvision, this does nothing; call it before the first import of diffusers' or transformers' models.

    Raises:
        ImportError, RuntimeError: torchvision can't be imported for another reason.
    """
    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare()
        import_module("torchvision")


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


def reason(error: Exception) -> str:
    """Another package's message, as a part of a sentence: one line of at most 300 characters."""
    text = " ".join(str(error).split()).rstrip(".!")
    return text if len(text) <= 300 else f"{text[:299]}…"


def let_hooks_travel() -> None:
    """Make text encoders picklable that have been used: what their hooks write to is sent by its name.

    Without it, a generator that has encoded a prompt couldn't be sent to another process.
    """
    import copyreg

    try:
        from transformers.utils.output_capturing import _active_collector as collector
    except ImportError:
        # Versions without such hooks.
        return
    copyreg.pickle(type(collector), lambda _: "_active_collector")


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no remarks on what a checkpoint's configuration holds besides; errors still raise."""
    from diffusers.utils import logging as diffusers_logging
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    libraries = (diffusers_logging, transformers_logging)
    levels = [(library, library.get_verbosity()) for library in (*libraries, hub_logging)]
    bars = [library for library in libraries if library.is_progress_bar_enabled()]
    for library, _ in levels:
        library.set_verbosity_error()
    for library in bars:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in levels:
            library.set_verbosity(level)
        for library in bars:
            library.enable_progress_bar()
