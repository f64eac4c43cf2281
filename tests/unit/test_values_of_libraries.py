"""Values of NumPy, pandas, dateutil and pydantic: each comes back with equal type and content."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from perdure.core.values import codec
from perdure.core.values.extensions import Unfit
from perdure.errors import NotStorable

ANY = codec.plan(Any, owner="step 'f'")


def back(value: Any, annotation: Any = Any) -> Any:
    """As a resumed run sees it."""
    plan = codec.plan(annotation, owner="step 'f'")
    data, first = plan.round_trip(value)
    assert type(first) is type(value)
    again = codec.plan(annotation, owner="step 'f'").unpack(data)
    assert type(again) is type(value)
    codec.pack_inputs([value], {}, owner="step 'f'")
    assert codec.describe(data)
    codec.to_builtins(data)
    return again


def arrays() -> Iterator[Any]:
    np = pytest.importorskip("numpy")
    for code in "?bBhHiIlLqQefdgFDG":
        yield np.arange(6).astype(code).reshape(2, 3)
    yield np.asfortranarray(np.arange(6.0).reshape(2, 3))
    yield np.arange(12.0).reshape(3, 4)[:, ::2]
    yield np.array(5)
    yield np.zeros((0, 3))
    yield np.arange(3, dtype=">i4")
    yield np.array(["a", "ü"])
    yield np.array([b"a", b"bcd"])
    yield np.array(["2026-01-01", "NaT"], "M8[ns]")
    yield np.array([1, 2], "m8[s]")
    yield np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
    yield np.array([1, "x", None, datetime.date(2026, 1, 1)], dtype=object)
    yield np.array([np.nan, np.inf, -0.0])


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_below_numpys_own_are_refused_for_what_they_are() -> None:
    """A masked array, a matrix and a record array are refused as subclasses, not for a dtype that is stored, and no
    way is named by which a mask would be lost."""
    np = pytest.importorskip("numpy")
    for value in np.ma.array([1, 2], mask=[0, 1]), np.matrix([[1]]), np.rec.array([(1,)], dtype=[("a", "i4")]):
        with pytest.raises(NotStorable, match=r"is a subclass of numpy\.ndarray") as caught:
            back(value)
        assert "dtype" not in str(caught.value)
        assert "numpy.save" not in str(caught.value)


def test_numpy_arrays_come_back_with_dtype_shape_and_order() -> None:
    """Bytes and all: byte order, Fortran order, records, NaT, objects; and they can be written to."""
    np = pytest.importorskip("numpy")
    for array in arrays():
        again = back(array)
        assert again.dtype == array.dtype
        assert again.shape == array.shape
        assert again.flags.f_contiguous == np.ascontiguousarray(array).flags.f_contiguous or array.flags.f_contiguous
        if array.dtype.hasobject:
            assert list(map(type, again)) == list(map(type, array))
            assert list(again) == list(array)
        else:
            assert again.tobytes() == array.tobytes()
        assert again.flags.writeable


def test_numpy_scalars_come_back_as_such_also_where_a_float_is_declared() -> None:
    """np.float64 is a float, so `-> float` admits it; it stays what it is."""
    np = pytest.importorskip("numpy")
    for value in (np.float64(0.93), np.float32(1.5), np.int64(3), np.bool_(True), np.str_("x"), np.bytes_(b"x")):
        assert back(value) == value
    assert back(np.float64(0.93), float) == 0.93
    assert back([np.float64(0.93)], list[float]) == [0.93]
    assert back(np.datetime64("2026-01-01", "D")) == np.datetime64("2026-01-01", "D")
    assert np.isnat(back(np.datetime64("NaT", "s")))
    assert back(np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0]).item() == (1, 2.5)
    assert back(np.dtype("i4")) == np.dtype("i4")
    npt = pytest.importorskip("numpy.typing")
    assert list(back(np.arange(3.0), npt.NDArray[np.float64])) == [0, 1, 2]


def test_numpy_kinds_without_an_exact_form_are_refused_by_name() -> None:
    """A subclass of an array is not narrowed to one."""
    np = pytest.importorskip("numpy")
    own = type("Own", (np.ndarray,), {})
    for value in (np.ma.array([1, 2]), np.zeros(2).view(own)):
        with pytest.raises(NotStorable, match="step 'f'"):
            ANY.round_trip(value)
    objects = np.array([(1, own)], dtype=[("a", "i4"), ("b", "O")])
    titled = {"names": ["a"], "formats": ["i4"], "offsets": [4], "titles": ["t"]}
    for value, why in (
        (objects, "is a record with objects in it"),
        (objects[0], "is a record with objects in it"),
        (np.dtype("i4", metadata={"a": 1}), "is a dtype with metadata"),
        (np.dtype(titled), "which has no exact text"),
        (np.random.Generator(type("Own", (np.random.PCG64,), {})()), "uses the bit generator Own"),
    ):
        with pytest.raises(NotStorable, match=why):
            ANY.round_trip(value)


def test_damaged_values_of_numpy_and_pandas_are_made_into_nothing() -> None:
    """What names a dtype is text, what is in an array are bytes, and no class is looked up by a name from outside."""
    pytest.importorskip("numpy")
    pytest.importorskip("pandas")
    from perdure.core.values import numpy_types, pandas_types

    for make, content in (
        (numpy_types.make_dtype, 5),
        (numpy_types.make_array, ["<i4", [1], False, "text"]),
        (numpy_types._make_generator, ["BitGenerator", {}]),
        (pandas_types._make_array, ["Sparse", []]),
    ):
        with pytest.raises(Unfit):
            make(content)


def test_a_generator_of_random_numbers_goes_on_where_it_was() -> None:
    """Its state is data."""
    np = pytest.importorskip("numpy")
    one = np.random.default_rng(5)
    one.random(3)
    other = back(one)
    assert list(one.random(3)) == list(other.random(3))


def frames() -> Iterator[Any]:
    pd = pytest.importorskip("pandas")
    np = pytest.importorskip("numpy")
    days = pd.date_range("2026-01-01", periods=3, freq="D", tz="Europe/Berlin")
    yield pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, np.nan, -0.0],
            "s": ["a", None, "ü"],
            "b": [True, False, True],
            "o": pd.Series([1, "x", None], dtype=object),
            "t": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "tz": days,
            "d": pd.to_timedelta([1, 2, None], unit="s"),
            "c": pd.Categorical(["x", "y", "x"], categories=["y", "x", "z"], ordered=True),
            "I": pd.array([1, None, 3], dtype="Int64"),
            "F": pd.array([1.5, None, 3], dtype="Float32"),
            "B": pd.array([True, None, False], dtype="boolean"),
            "S": pd.array(["a", None, "c"], dtype=pd.StringDtype("python")),
            "p": pd.period_range("2026-01", periods=3, freq="M"),
            "iv": pd.interval_range(0, 3),
            "i8": np.arange(3, dtype="i1"),
        }
    )
    yield pd.DataFrame({"a": [1, 2, 3]}, index=days)
    yield pd.DataFrame({"a": []})
    yield pd.DataFrame(index=[1, 2])
    yield pd.DataFrame([[1, 2], [3, 4]], columns=["z", "z"])
    yield pd.DataFrame([[1, 2], [3, 4]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["u", None]))
    yield pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_product([["x"], [1, 2]], names=["k", "n"]))
    yield pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["p", "q"], name="c"))
    yield pd.DataFrame({"a": [1, 2]}, index=pd.Index([1.5, 2.5], name="f"))
    yield pd.DataFrame({1: [1], "x": [2], None: [3]})
    yield pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    noted = pd.DataFrame({"a": [1]})
    noted.attrs["source"] = "bank"
    yield noted


def test_pandas_frames_come_back_with_dtypes_index_and_names() -> None:
    """Time zones, categories, nullable columns, names, frequencies, flags and what is noted of them included."""
    pd = pytest.importorskip("pandas")
    for frame in frames():
        again = back(frame, pd.DataFrame)
        pd.testing.assert_frame_equal(again, frame, check_freq=True, check_exact=True)
        assert list(again.dtypes) == list(frame.dtypes)
        assert type(again.index) is type(frame.index)
        assert list(again.columns) == list(frame.columns)
        assert (again.attrs, again.flags) == (frame.attrs, frame.flags)
        for name in range(frame.shape[1]):
            series = frame.iloc[:, name]
            pd.testing.assert_series_equal(back(series), series, check_freq=True)
        pd.testing.assert_index_equal(back(frame.index), frame.index, exact=True)
    for times in (pd.to_datetime(["2026-01-01", None]), pd.timedelta_range("1s", periods=3, freq="s")):
        assert back(times.array).equals(times.array)


def test_pandas_scalars_come_back() -> None:
    """NaT and NA as themselves, stamps with their unit and zone."""
    pd = pytest.importorskip("pandas")
    assert back(pd.NaT) is pd.NaT
    assert back(pd.NA) is pd.NA
    for value in (
        pd.Timestamp("2026-01-01 01:02:03.123456789"),
        pd.Timestamp("2026-10-25 00:30", tz="UTC").tz_convert("Europe/Berlin"),
        pd.Timestamp("2026-10-25 01:30", tz="UTC").tz_convert("Europe/Berlin"),
        pd.Timestamp("2026-01-01").as_unit("s"),
        pd.Timedelta(5, "ns"),
        pd.Timedelta("1D").as_unit("s"),
        pd.Period("2026-01", "M"),
        pd.Interval(1, 2, closed="both"),
    ):
        again = back(value)
        assert again == value
        assert getattr(again, "unit", None) == getattr(value, "unit", None)


def test_a_frame_of_a_dtype_without_an_exact_form_is_refused_with_the_way_out() -> None:
    """The error names the column's dtype, and a file as the way out."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])})
    with pytest.raises(NotStorable, match="Sparse") as caught:
        ANY.round_trip(frame)
    assert "to_parquet" in caught.value.hint


def test_times_with_zones_of_dateutil_come_back() -> None:
    """As boto and many parsers return them."""
    tz = pytest.importorskip("dateutil.tz")
    for zone in (tz.tzutc(), tz.tzoffset("X", 3600), tz.tzlocal()):
        value = datetime.datetime(2026, 1, 1, tzinfo=zone)
        again = back(value)
        assert again == value
        assert type(again.tzinfo) is type(zone)
        assert again.tzname() == value.tzname()


def test_addresses_and_times_of_pydantic_come_back() -> None:
    """Its URLs, and the fixed offsets that it reads."""
    pydantic = pytest.importorskip("pydantic")

    mail = pydantic.NameEmail("Ann Lee", "ann@example.org")
    assert (back(mail), back([mail])) == (mail, [mail])

    class Page(pydantic.BaseModel):
        url: pydantic.HttpUrl
        any: pydantic.AnyUrl
        dsn: pydantic.PostgresDsn
        size: pydantic.ByteSize
        at: datetime.datetime
        ip: pydantic.IPvAnyAddress
        n: pydantic.conint(gt=1)
        uid: pydantic.UUID4

    page = Page(
        url="https://example.org",
        any="ftp://u:p@h/x",
        dsn="postgres://u:p@a,b/db",
        size="3MB",
        at="2026-01-01T00:00:00+02:00",
        ip="10.0.0.1",
        n=2,
        uid="6a45dbbe-0000-4000-8000-000000000000",
    )
    again = back(page, Page)
    assert again == page
    assert again.model_dump_json() == page.model_dump_json()
    assert {name: type(getattr(again, name)) for name in Page.model_fields} == {
        name: type(getattr(page, name)) for name in Page.model_fields
    }
    assert type(again.at.tzinfo) is type(page.at.tzinfo)
    assert back(page.url, pydantic.HttpUrl) == page.url
