from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deft.data.importers.pickles import PickledArray, Refused, array_state, walk

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(value=PLAIN, protocol=st.sampled_from([2, 3, 4]))
def test_plain_values_come_out_as_unpickling_gives_them(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol=protocol)
    if protocol == 2 and b"__builtin__" in data:  # how protocol 2 writes empty bytes: a call of bytes()
        with pytest.raises(Refused):
            walk(data)
    else:
        assert walk(data) == value


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i8", "|u1", "|b1"])
def test_an_array_keeps_shape_type_and_bytes(dtype: str) -> None:
    array = np.array([[1, 0, 1]], dtype=dtype)
    found = walk(pickle.dumps(array, protocol=4))
    assert isinstance(found, PickledArray)
    shape, kind, data = array_state(found)
    assert (shape, kind.code, data) == ((1, 3), dtype[1:], array.tobytes())
    assert np.dtype(kind.order + kind.code) == array.dtype


def test_a_key_that_is_no_name_is_refused() -> None:
    with pytest.raises(Refused, match="a key that is tuple"):
        walk(pickle.dumps({(1, 2): 3}))
