"""Reads a file of `torch.save` that holds objects, as plain values: nothing that it names is imported or called.

torch's own `weights_only=True` does not know the pickle protocol 4 that RecBole writes. Here every global that a file
asks for is one of a short list of our own functions, which build tensors, arrays and numbers and nothing else; a class
of RecBole, of torch.nn or of PyYAML becomes a `Record` that only keeps its fields; any other name ends the reading.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Packages of which a file may name any class: it becomes a `Record`.
RECORDED = ("recbole.", "torch.nn.", "yaml.")

#: The dtypes that NumPy's pickles may have: plain numbers, texts, and objects, which stay a list.
DTYPE = re.compile(r"[?bBhHiIlLqQefdgSUO]\d*|[iufb]\d+")


class Refused(pickle.UnpicklingError):
    """A file asks for something that no checkpoint needs; the message is its name."""


class Record:
    """An object of a class that is not imported: its fields, or what it would have been called with."""

    values: tuple[Any, ...] = ()
    fields: Mapping[Any, Any] = MappingProxyType({})

    def __init__(self, *values: Any, **_: Any) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.fields = state

    def get(self, *names: str) -> Any:
        """Return the value of a field, of a field of that field, ...; None where there is none."""
        found: Any = self
        for name in names:
            fields = found.fields if isinstance(found, Record) else found
            found = fields.get(name) if isinstance(fields, Mapping) else None
        return found


class Dtype:
    """A plain NumPy dtype, in two steps as pickles make it."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not DTYPE.fullmatch(code):
            raise Refused(f"numpy.dtype {code!r}")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, *parts = state[1:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise Refused(f"numpy.dtype with parts {state!r}")
        self.code = self.code if self.is_object else f"{order}{self.code}"

    @property
    def is_object(self) -> bool:
        """Whether the values are objects."""
        return self.code.startswith("O")

    @property
    def dtype(self) -> "np.dtype[Any]":
        """The dtype."""
        return np.dtype(self.code)


class Array:
    """A NumPy array, in two steps as pickles make it; `values` once it is whole."""

    def __init__(self, *_: Any) -> None:
        self.values: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, raw = state
        if dtype.is_object:
            self.values = list(raw)
            return
        flat = np.frombuffer(raw if isinstance(raw, bytes) else raw.encode("latin-1"), dtype.dtype)
        self.values = flat.reshape(shape, order="F" if is_fortran else "C")


def read_plain(path: Path) -> Any:
    """Return the content of a zip file of `torch.save`, on the CPU; `Refused` names what a file may not ask for.

    A damaged file, or one that is no zip file, raises what pickle, zipfile or torch raise.
    """
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise Refused("a TorchScript program")  # torch would load it whatever the reader is
    reader = ModuleType("reader")  # torch takes a module in place of pickle
    reader.Unpickler = _Unpickler  # type: ignore[attr-defined]
    reader.load = None  # type: ignore[attr-defined]  # torch's old format, which needs it, is refused before
    return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)


class _Unpickler(pickle.Unpickler):
    """Finds our own builders, made anew for each name, so that a file cannot change one either."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith(RECORDED) or (module, name) == ("logging", "getLogger"):
            return type(name, (Record,), {})
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name in ("scalar", "_reconstruct"):
            return _fresh(_scalar) if name == "scalar" else type("Array", (Array,), {})
        if module == "torch" and name == "Size":
            return _fresh(tuple)
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        builder = _BUILDERS.get((module, name))
        if builder is None:
            raise Refused(f"{module}.{name}")
        return type(name, (builder,), {}) if isinstance(builder, type) else _fresh(builder)


def _fresh(builder: Callable[..., Any]) -> Callable[..., Any]:
    def build(*values: Any) -> Any:
        return builder(*values)

    return build


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    tensor: Tensor = torch._utils._rebuild_tensor_v2(  # type: ignore[no-untyped-call]
        storage, offset, size, stride, False, OrderedDict()
    )
    return tensor


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _scalar(dtype: Dtype, raw: Any = b"") -> Any:
    if dtype.is_object:
        return raw
    return np.frombuffer(raw if isinstance(raw, bytes) else raw.encode("latin-1"), dtype.dtype)[0].item()


def _encoded(text: str, _: str = "latin-1") -> bytes:
    return text.encode("latin-1")  # how protocol 2 writes bytes


def _empty() -> bytes:
    return b""  # how protocol 2 writes no bytes


def _text(*words: Any) -> str:
    return ":".join(map(str, words))


#: What a file may ask for besides: the rest of what torch and NumPy write.
_BUILDERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "device"): _text,
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): Record,
    ("_codecs", "encode"): _encoded,
    ("__builtin__", "bytes"): _empty,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
