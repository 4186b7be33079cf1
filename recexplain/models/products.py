"""Products with weights by the fastest kernel that torch has for them here."""

import os
from functools import cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

#: Kernels that oneDNN and torch's wrapper of it each keep: one a shape, half a megabyte. By their own measure, 1,024,
#: a process that scores batches of all sizes comes to hold gigabytes. Both ask at their first product.
KERNELS = 64
FEW = 199  # rows of a product: with no more, calling oneDNN takes longer than what its product saves
for _name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_name, str(KERNELS))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W' + b, (..., out), from x, (..., in), and the weight, (out, in).

    On CPU in float32, in inference mode, oneDNN computes it in one pass, unless rows are `FEW` or less. Torch itself
    goes there only for shorter floats; for float32 it asks MKL, which on processors of another maker than its own is
    half as fast.
    """
    return _onednn(x, weight, bias, "none") if _is_plain(x) else F.linear(x, weight, bias)


def through(layer: nn.Linear, x: Tensor, onto: Tensor | None = None) -> Tensor:
    """Return `layer(x)`, or `onto + layer(x)`, likewise; outside inference mode the layer's hooks are called."""
    if _is_plain(x):
        if onto is None:
            return _onednn(x, layer.weight, layer.bias, "none")
        return _onednn_onto(onto, x, layer.weight, layer.bias)
    found: Tensor = layer(x)
    return found if onto is None else onto + found


def perceptron(layers: nn.Sequential, x: Tensor, onto: Tensor | None = None) -> Tensor:
    """Return the same of a linear map, GELU and another linear map: GELU and the sum cost no pass of their own."""
    if not _is_plain(x):
        found: Tensor = layers(x)
        return found if onto is None else onto + found
    wide, _, narrow = cast("tuple[nn.Linear, nn.GELU, nn.Linear]", tuple(layers))
    return through(narrow, _onednn(x, wide.weight, wide.bias, "gelu"), onto)


def _is_plain(x: Tensor) -> bool:
    """Whether nothing but the product is wanted of x, and oneDNN can compute it, and faster."""
    if not torch.is_inference_mode_enabled() or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    return x.numel() > FEW * x.shape[-1] and _has_onednn()


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None, then: str) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
    return found


def _onednn_onto(onto: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, onto, weight, bias, "add")
    return found


@cache
def _has_onednn() -> bool:
    """Whether this build of torch has the operations, which are not among those it promises, in the form used here."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    one = torch.ones(1, 1)
    try:
        gelu, onto = _onednn(one, one, one[0], "gelu"), _onednn_onto(one, one, one, one[0])
        return bool((torch.isclose(gelu, F.gelu(one + 1)) & torch.isclose(onto, one * 3)).all())
    except (AttributeError, RuntimeError, TypeError):
        return False
