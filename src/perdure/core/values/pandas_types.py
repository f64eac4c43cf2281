"""pandas' frames, series, indexes and scalars as values: dtypes, names, order, time zones and categories included.

Imported when the first value of pandas' is met. A column is stored as what its dtype keeps it in; a dtype that is not
known here is refused with the way out, which is a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perdure.core.values.extensions import Refused, Unfit
from perdure.core.values.registry import register_own

_WAY_OUT = "write it to a file (to_parquet) and return the path"


def learn() -> None:
    """Register the codecs."""
    import pandas as pd

    codecs: list[tuple[type, str, Callable[[Any], Any], Callable[[Any], Any]]] = [
        (pd.DataFrame, "DataFrame", _take_frame, _make_frame),
        (pd.Series, "Series", _take_series, _make_series),
        (pd.Timestamp, "Timestamp", _take_timestamp, _make_timestamp),
        (pd.Timedelta, "Timedelta", lambda v: [v._value, v.unit], lambda c: pd.Timedelta(c[0], c[1]).as_unit(c[1])),
        (pd.Period, "Period", lambda v: [v.ordinal, v.freqstr], lambda c: pd.Period(ordinal=c[0], freq=c[1])),
        (pd.Interval, "Interval", lambda v: [v.left, v.right, v.closed], lambda c: pd.Interval(*c)),
        (type(pd.NaT), "NaT", lambda v: None, lambda c: pd.NaT),
        (type(pd.NA), "NA", lambda v: None, lambda c: pd.NA),
    ]
    codecs += [(cls, cls.__name__, take_index, make_index) for cls in _indexes()]
    codecs += [(cls, cls.__name__, _take_array, _make_array) for cls in _arrays()]
    for cls, name, take, make in codecs:
        register_own(cls, f"pandas.{name}", take, make)


def _indexes() -> list[type]:
    import pandas as pd

    return [
        *(pd.Index, pd.RangeIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex),
        *(pd.CategoricalIndex, pd.IntervalIndex, pd.MultiIndex),
    ]


def _arrays() -> list[type]:
    import pandas as pd

    names = (
        *("IntegerArray", "FloatingArray", "BooleanArray", "StringArray", "DatetimeArray", "TimedeltaArray"),
        *("PeriodArray", "IntervalArray"),
    )
    return [pd.Categorical, *(vars(pd.arrays)[name] for name in names)]


# --- one column ------------------------------------------------------------------------------------------------------


def _take_array(array: Any) -> list[Any]:
    """An extension array: the kind of its dtype, and what it keeps its values in."""
    import pandas as pd

    dtype = array.dtype
    match dtype:
        case pd.CategoricalDtype():
            return ["category", array.codes.copy(), array.categories, bool(array.ordered)]
        case pd.DatetimeTZDtype():
            zone = dtype.tz
            return ["datetime", array.asi8, dtype.unit, zone, _freq(array)]
        case pd.PeriodDtype():
            return ["period", array.asi8, str(dtype)]
        case pd.IntervalDtype():
            return ["interval", array.left, array.right, array.closed]
        case pd.StringDtype():
            missing = [item is pd.NA or item != item for item in array]
            values = [None if gone else str(item) for gone, item in zip(missing, array, strict=True)]
            return ["string", dtype.storage, dtype.na_value is pd.NA, values]
    if hasattr(array, "_mask") and dtype.kind in "iufb":
        return ["masked", str(dtype), array._data.copy(), array._mask.copy()]
    if type(array).__name__ in ("DatetimeArray", "TimedeltaArray"):
        return [dtype.kind, array.asi8, str(dtype), _freq(array)]
    raise Refused(f"is a column of the dtype {dtype}, which has no exact form here", array, _WAY_OUT)


def _make_array(content: Any) -> Any:
    import pandas as pd

    kind, *parts = content
    match kind:
        case "category":
            codes, categories, ordered = parts
            return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, ordered))
        case "datetime":
            stamps, unit, zone, freq = parts
            index = pd.DatetimeIndex(stamps.view(f"M8[{unit}]")).tz_localize("UTC").tz_convert(zone)
            return _with_freq(index, freq).array
        case "period":
            return pd.arrays.PeriodArray(parts[0], dtype=parts[1])
        case "interval":
            return pd.arrays.IntervalArray.from_arrays(parts[0], parts[1], closed=parts[2])
        case "string":
            storage, masked, values = parts
            dtype = pd.StringDtype(storage) if masked else pd.StringDtype(storage, na_value=float("nan"))
            return pd.array(values, dtype=dtype)
        case "masked":
            name, data, mask = parts
            made: Any = pd.array([], dtype=name)
            return type(made)(data, mask)
        case "M" | "m":
            stamps, name, freq = parts
            cls = pd.DatetimeIndex if kind == "M" else pd.TimedeltaIndex
            return _with_freq(cls(stamps.view(name)), freq).array
    raise Unfit(f"a column of the kind {kind!r} is not known")


def _freq(holder: Any) -> str | None:
    freq = getattr(holder, "freq", None)
    return None if freq is None else str(freq.freqstr)


def _with_freq(index: Any, freq: str | None) -> Any:
    import pandas as pd

    if freq is not None:
        index = index._with_freq(None)
        index.freq = pd.tseries.frequencies.to_offset(freq)
    return index


def _take_column(values: Any) -> Any:
    """What a series or an index keeps its values in: a NumPy array, or an extension array."""
    import numpy as np

    array = values.array
    if type(values.dtype) is type(np.dtype("O")) or isinstance(values.dtype, np.dtype):
        return np.asarray(values) if values.dtype.kind not in "mM" else np.asarray(values).view()
    return array


# --- frames ----------------------------------------------------------------------------------------------------------


def take_index(index: Any) -> list[Any]:
    """An index: its kind, its names, and its values."""
    import pandas as pd

    match index:
        case pd.RangeIndex():
            return ["range", list(index.names), [index.start, index.stop, index.step]]
        case pd.MultiIndex():
            return ["multi", list(index.names), [list(index.levels), [codes.copy() for codes in index.codes]]]
    return ["plain", list(index.names), [_take_column(index), _freq(index)]]


def make_index(content: Any) -> Any:
    """The index that `take_index` described."""
    import pandas as pd

    kind, names, parts = content
    match kind:
        case "range":
            return pd.RangeIndex(*parts, name=names[0])
        case "multi":
            return pd.MultiIndex(levels=parts[0], codes=parts[1], names=names, verify_integrity=True)
    values, freq = parts
    index = pd.Index(values, name=names[0], dtype=values.dtype, copy=True)
    if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex):
        index = _with_freq(index, freq)
    return index


def _take_series(series: Any) -> list[Any]:
    flags = bool(series.flags.allows_duplicate_labels)
    return [_take_column(series), series.index, series.name, dict(series.attrs), flags]


def _make_series(content: Any) -> Any:
    import pandas as pd

    values, index, name, attrs, flags = content
    series = pd.Series(values, index=index, name=name, dtype=values.dtype, copy=True)
    series.attrs.update(attrs)
    series.flags.allows_duplicate_labels = flags
    return series


def _take_frame(frame: Any) -> list[Any]:
    columns = [_take_column(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return [columns, frame.index, frame.columns, dict(frame.attrs), bool(frame.flags.allows_duplicate_labels)]


def _make_frame(content: Any) -> Any:
    import pandas as pd

    columns, index, labels, attrs, flags = content
    made = {
        place: pd.Series(values, index=index, dtype=values.dtype, copy=True) for place, values in enumerate(columns)
    }
    frame = pd.DataFrame(made, index=index, columns=range(len(columns)))
    frame.columns = labels
    frame.attrs.update(attrs)
    frame.flags.allows_duplicate_labels = flags
    return frame


# --- scalars ---------------------------------------------------------------------------------------------------------


def _take_timestamp(stamp: Any) -> list[Any]:
    return [stamp._value, stamp.unit, stamp.tzinfo]


def _make_timestamp(content: Any) -> Any:
    import numpy as np
    import pandas as pd

    value, unit, zone = content
    stamp = pd.Timestamp(np.datetime64(value, unit))
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)
