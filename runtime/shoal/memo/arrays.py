"""Arrays and tables: numpy and pandas, of which neither is loaded from here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from shoal.memo.frames import blob, bundle, frame
from shoal.memo.steps import Steps, each

__all__ = ["numpy_handler", "pandas_handler"]

Handler = Callable[[Any], bytes | Steps]


# --------------------------------------------------------------------------- numpy


def numpy_handler(kind: type) -> Handler | None:
    """The handler for a type of numpy's; None where its pickled form is as good."""
    numpy: Any = sys.modules["numpy"]
    if kind is numpy.ndarray or kind is numpy.memmap:
        return _array
    if kind is numpy.ma.MaskedArray:
        return _masked
    return _scalar if issubclass(kind, numpy.generic) else None


def _array(array: Any) -> bytes | Steps:
    """By type, shape and content: the layout in memory makes no difference."""
    dtype = array.dtype
    if dtype.hasobject or dtype.names or dtype.subdtype or dtype.kind not in "?biufcmMSUV" or dtype.metadata:
        return _odd_array(array)
    if not dtype.isnative:  # pickle does not keep to the byte order either
        array = array.astype(dtype.newbyteorder("="))
        dtype = array.dtype
    return bundle(b"array", [_shape(array), blob(b"dtype", dtype.str.encode()), blob(b"data", _bytes_of(array))])


def _odd_array(array: Any) -> Steps:
    """Of objects: item by item. Of records: field by field, since the gaps between fields hold anything."""
    parts = [_shape(array), (yield array.dtype)]
    if array.dtype.names:
        parts += yield from each([_plain(array[name]) for name in array.dtype.names])
    elif array.dtype.hasobject or array.dtype.kind == "T":
        parts.append((yield array.ravel().tolist()))
    else:
        parts.append(blob(b"data", _bytes_of(array)))
    return bundle(b"odd array", parts)


def _masked(array: Any) -> Steps:
    mask = sys.modules["numpy"].ma.getmaskarray(array)
    return bundle(b"masked", (yield from each((array.data, mask, array.fill_value))))


def _plain(array: Any) -> Any:
    return array.view(sys.modules["numpy"].ndarray)


def _scalar(scalar: Any) -> bytes | Steps:
    if scalar.dtype.hasobject or scalar.dtype.names:
        return _odd_scalar(scalar)
    return frame(b"scalar", blob(b"dtype", scalar.dtype.str.encode()) + blob(b"data", scalar.tobytes()))


def _odd_scalar(scalar: Any) -> Steps:
    return bundle(b"odd scalar", [(yield sys.modules["numpy"].asarray(scalar))])


def _shape(array: Any) -> bytes:
    return blob(b"shape", repr(array.shape).encode())


def _bytes_of(array: Any) -> Any:
    if not array.nbytes:
        return b""
    if array.flags.c_contiguous:  # without a copy
        return memoryview(array.reshape(-1).view("u1"))
    return array.tobytes()


# --------------------------------------------------------------------------- pandas


def pandas_handler(kind: type) -> Handler | None:
    """The handler for a type of pandas'; None where its pickled form is as good."""
    pandas: Any = sys.modules["pandas"]
    if kind is pandas.DataFrame:
        return _frame
    if kind is pandas.Series:
        return _series
    if kind is pandas.MultiIndex:
        return _multi_index
    if issubclass(kind, pandas.Index):
        return _index
    return _column if issubclass(kind, pandas.api.extensions.ExtensionArray) else None


def _frame(table: Any) -> Steps:
    parts = [(yield table.index), (yield table.columns), (yield dict(table.attrs)), (yield dict(_flags(table)))]
    columns = (table.iloc[:, number].array for number in range(table.shape[1]))
    return bundle(b"frame", [*parts, *(yield from each(columns))])


def _series(series: Any) -> Steps:
    parts = [(yield series.index), (yield series.name), (yield dict(series.attrs)), (yield dict(_flags(series)))]
    return bundle(b"series", [*parts, (yield series.array)])


def _flags(table: Any) -> list[tuple[str, bool]]:
    return [("allows_duplicate_labels", bool(table.flags.allows_duplicate_labels))]


def _multi_index(index: Any) -> Steps:
    parts = [(yield list(index.names))]
    levels = (index.get_level_values(level).array for level in range(index.nlevels))
    return bundle(b"multi index", [*parts, *(yield from each(levels))])


def _index(index: Any) -> Steps:
    kind = blob(b"kind", type(index).__name__.encode())
    freq = getattr(index, "freq", None)
    return bundle(b"index", [kind, (yield index.name), blob(b"freq", str(freq).encode()), (yield index.array)])


def _column(column: Any) -> Steps:
    """One column's values, whatever they are kept in."""
    parts = [blob(b"dtype", repr(column.dtype).encode())]
    codes, raw = getattr(column, "codes", None), getattr(column, "asi8", None)
    if codes is not None:
        parts += [(yield column.categories), (yield codes), (yield bool(column.ordered))]
    elif raw is not None:  # times
        parts.append((yield raw))
    else:
        parts.append((yield column.to_numpy() if _is_numpy(column) else column.to_numpy(dtype=object)))
    return bundle(b"column", parts)


def _is_numpy(column: Any) -> bool:
    kind = getattr(sys.modules["pandas"].arrays, "NumpyExtensionArray", None)  # from pandas 2.1 on
    return kind is not None and isinstance(column, kind)
