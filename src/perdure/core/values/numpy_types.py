"""NumPy's scalars, arrays and dtypes as values: exact type, byte order, shape and memory order included.

Imported when the first value of NumPy's is met. Arrays of objects are stored item by item, so what is in them comes
back as what it was, or is refused.
"""

from __future__ import annotations

import ast
from typing import Any

from perdure.core.values.extensions import Refused, Unfit
from perdure.core.values.registry import register_own


def learn() -> None:
    """Register the codecs."""
    import numpy as np

    kinds = {np.dtype(code).type for code in "?bBhHiIlLqQefdgFDGSUVmM"} | {np.longlong, np.ulonglong}
    for kind in kinds:
        register_own(kind, f"numpy.{kind.__name__}", _take_scalar, _make_scalar)
    register_own(np.ndarray, "numpy.ndarray", take_array, make_array)
    for cls in {type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGSUVmMO"} | {np.dtype}:
        register_own(cls, f"numpy.dtype.{cls.__name__}", take_dtype, make_dtype)
    register_own(np.random.Generator, "numpy.random.Generator", _take_generator, _make_generator)


def take_dtype(dtype: Any) -> str:
    """A dtype as text: its type string, or the literal list of its fields."""
    if dtype.metadata:
        raise Refused("is a dtype with metadata", dtype, "leave the metadata out")
    if dtype.names is None and dtype.subdtype is None:
        if dtype.kind not in "biufcSUVmMO":
            raise Refused(f"is of the dtype {dtype}, which has no exact text", dtype, "change it with .astype(...)")
        return str(dtype.str)
    text = repr(dtype.descr) if dtype.subdtype is None else repr((dtype.base.descr, dtype.shape))
    if make_dtype(text) != dtype:
        raise Refused(f"is of the dtype {dtype}, which has no exact text", dtype, "use fields without gaps or titles")
    return text


def make_dtype(text: Any) -> Any:
    """The dtype that `take_dtype` described."""
    import numpy as np

    if type(text) is not str:
        raise Unfit("a dtype is not text")
    return np.dtype(ast.literal_eval(text) if text[:1] in "[(" else text)


def _take_scalar(value: Any) -> list[Any]:
    return [take_dtype(value.dtype), value.tobytes() if not value.dtype.hasobject else _no_objects(value)]


def _make_scalar(content: Any) -> Any:
    import numpy as np

    text, data = content
    return np.frombuffer(data, make_dtype(text), 1)[0] if data else np.zeros((), make_dtype(text))[()]


def _no_objects(value: Any) -> Any:
    raise Refused("is a record with objects in it", value, "return .tolist() of it")


def take_array(value: Any) -> list[Any]:
    """An array: dtype, shape, whether its memory is in Fortran's order, and its data."""
    dtype = value.dtype
    fortran = bool(value.flags.f_contiguous and not value.flags.c_contiguous)
    if dtype.hasobject:
        if dtype.kind != "O":
            _no_objects(value)
        return ["|O", list(value.shape), fortran, value.ravel().tolist()]
    return [take_dtype(dtype), list(value.shape), fortran, value.tobytes("F" if fortran else "C")]


def make_array(content: Any) -> Any:
    """The array that `take_array` described; it can be written to."""
    import numpy as np

    text, shape, fortran, data = content
    if text == "|O":
        flat = np.empty(len(data), object)
        for place, item in enumerate(data):
            flat[place] = item
        whole = flat.reshape(shape)
        return np.asfortranarray(whole) if fortran else whole
    dtype = make_dtype(text)
    if type(data) is not bytes:
        raise Unfit("the data of an array are no bytes")
    if dtype.itemsize == 0 or not data:
        return np.zeros(shape, dtype)
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")


def _take_generator(value: Any) -> list[Any]:
    bits = value.bit_generator
    if type(bits).__name__ not in _BIT_GENERATORS:
        raise Refused(f"uses the bit generator {type(bits).__name__}", value, "use numpy.random.default_rng()")
    return [type(bits).__name__, bits.state]


_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937")


def _make_generator(content: Any) -> Any:
    import numpy as np

    name, state = content
    if name not in _BIT_GENERATORS:
        raise Unfit(f"the bit generator {name!r} is not known")
    bits = vars(np.random)[name]()
    bits.state = state
    return np.random.Generator(bits)
