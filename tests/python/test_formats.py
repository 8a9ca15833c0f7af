"""napier.Format against ml_dtypes, and the exactness of codes."""
import pickle

import ml_dtypes
import napier
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ML_DTYPES = {name: napier.Format(name) for name in napier.format_names()
             if napier.Format(name).dtype is not None}
FLOATS = [name for name, f in ML_DTYPES.items() if f.exponent_bits > 0 and f.bits <= 16]


@pytest.mark.parametrize("name", FLOATS)
def test_every_code_is_ml_dtypes_number(name):
    f = napier.Format(name)
    codes = np.arange(1 << f.bits).astype(f.code_dtype)
    theirs = codes.view(f.dtype).astype(np.float64)
    np.testing.assert_array_equal(f.decode(codes), theirs)
    np.testing.assert_array_equal(f.decode(codes.view(f.dtype)), theirs)


@pytest.mark.parametrize("name", FLOATS)
@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=64))
def test_encoding_is_ml_dtypes_conversion(name, values):
    f = napier.Format(name)
    values = np.array(values, np.float32)
    if not f.is_signed:
        values = np.abs(values) + np.float32(1e-30)  # e8m0: neither zero nor negative numbers
    ours = f.encode(values, saturate=False)
    theirs = values.astype(f.dtype)
    if not f.has_nan and not f.has_infinity:  # ml_dtypes saturates these: so does Napier
        theirs = np.clip(values, f.lowest, f.largest).astype(f.dtype)
    np.testing.assert_array_equal(f.decode(ours).astype(np.float64), theirs.astype(np.float64))
    np.testing.assert_array_equal(f.cast(values, saturate=False).view(ours.dtype), ours)


@pytest.mark.parametrize("name", napier.format_names())
def test_numbers_keep_their_codes(name):
    f = napier.Format(name)
    if f.bits > 16:
        pytest.skip("SKIPPED: more than 2^16 codes")
    numbers = f.decode(np.arange(1 << f.bits))
    finite = np.isfinite(numbers)
    np.testing.assert_array_equal(f.round(numbers[finite], "rtz"), numbers[finite])
    assert f.largest == numbers[finite].max() and f.lowest == numbers[finite].min()
    assert f.smallest_positive == numbers[finite & (numbers > 0)].min()


def test_float64_is_a_format():
    f = napier.Format("f64")
    values = np.array([1.5, -0.0, 5e-324, 1.7e308, np.inf])
    np.testing.assert_array_equal(f.encode(values, saturate=False), values.view(np.uint64))
    np.testing.assert_array_equal(f.decode(values), values)
    np.testing.assert_array_equal(f.round(values[:4]), values[:4])
    assert np.isnan(f.decode(np.float64([np.nan]))[0])


def test_names_are_listed_once():
    names = napier.format_names()
    assert len(set(names)) == len(names) > 30


def test_codes_may_be_none_or_of_the_other_byte_order():
    assert napier.Format("e4m3fn").decode([]).shape == (0,)
    for order in "<>":
        codes = np.array([-1, 5], order + "i2")
        np.testing.assert_array_equal(napier.Format("int16").decode(codes), [-1, 5])


@pytest.mark.parametrize("options, error", [
    ({"seed": -1}, ValueError), ({"seed": 2**32}, ValueError), ({"rounding": None}, TypeError),
    ({"rounding": "up"}, napier.Error),
])
def test_wrong_options(options, error):
    with pytest.raises(error, match="give"):
        napier.Format("e4m3fn").encode([1.0], **options)


@given(st.floats(-400, 400), st.sampled_from(["rne", "rtz", "rup", "rdn"]))
def test_rounding_directions(value, rounding):
    f = napier.Format("e4m3fn")
    numbers = f.decode(np.arange(256)).astype(np.float64)
    numbers = np.sort(numbers[np.isfinite(numbers)])
    below, above = numbers[numbers <= value].max(), numbers[numbers >= value].min()
    got = float(f.round(value, rounding))
    want = {"rtz": below if value > 0 else above, "rup": above, "rdn": below}.get(rounding)
    if rounding == "rne":
        assert got in (below, above) and abs(got - value) == min(value - below, above - value)
    else:
        assert got == want


def test_stochastic_rounding_is_seeded_and_unbiased():
    f = napier.Format("e4m3fn")
    values = np.full(20000, 1.03125)  # a quarter of the way from 1 to 1.125
    up = f.round(values, "sr", seed=1) > 1
    assert abs(up.mean() - 0.25) < 0.015
    np.testing.assert_array_equal(up, f.round(values, "sr", seed=1) > 1)
    assert (up != (f.round(values, "sr", seed=2) > 1)).any()


def test_narrow_integers_are_ml_dtypes():
    values = np.arange(-8, 8)
    cast = napier.Format("int4").cast(values)
    assert cast.dtype == ml_dtypes.int4
    np.testing.assert_array_equal(cast.astype(int), values)
    np.testing.assert_array_equal(napier.Format("int4").decode(cast), values)
    np.testing.assert_array_equal(napier.Format("int4").encode(values), values & 15)


def test_shapes_and_layouts_are_kept():
    f = napier.Format("bf16")
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    np.testing.assert_array_equal(f.decode(f.encode(values)), values)
    assert f.encode(1.0).shape == () and f.encode([]).shape == (0,)


def test_formats_are_values():
    assert napier.Format("e4m3") == napier.Format("e4m3fn") != napier.Format("e5m2")
    assert hash(napier.Format("e4m3")) == hash(napier.Format("e4m3fn"))
    again = pickle.loads(pickle.dumps(napier.Format("e2m1")))
    assert again == napier.Format("e2m1fn") and isinstance(again, napier.Format)
    assert napier.Format("e5m2").largest == 57344 and repr(again) == "napier.Format('e2m1fn')"


@pytest.mark.parametrize("call, error, words", [
    (lambda f: napier.Format("e99m9"), napier.ParseError, "position"),
    (lambda f: f.encode([1.0], "nearest"), napier.Error, "rne, rna"),
    (lambda f: f.encode(np.array([1j])), TypeError, "complex"),
    (lambda f: f.encode("text"), TypeError, "number"),
    (lambda f: f.encode(np.array([2**60 + 1])), TypeError, "2**53"),
    (lambda f: f.decode([0.5]), TypeError, "integers"),
    (lambda f: f.decode([256]), napier.Error, "less than 256"),
    (lambda f: f.decode([-1]), napier.Error, "negative"),
    (lambda f: napier.Format("int8").encode([np.nan]), napier.Error, "NaN"),
    (lambda f: napier.Format("e8m4").cast([1.0]), TypeError, "encode()"),
    (lambda f: napier.Format("e11m3b4095").decode([1]), napier.Error, "float64"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words.replace("*", r"\*").replace("(", r"\(").replace(
            ")", r"\)")):
        call(napier.Format("e4m3fn"))
