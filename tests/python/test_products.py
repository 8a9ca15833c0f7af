"""Products of arrays: the bits of the C++ scalar reference, for every preset and any layout."""
import os
import pickle
import threading
import time

import ml_dtypes
import napier
import numpy as np
import pytest
from conftest import ROOT, bits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

PRESETS = napier.preset_names()
MORE = ["lmul-m4/acc=bf16(chunk=16)", "mul=lmul(reading=formula,l=3):e4m3", "x=e4m3@row/w=e2m1@row",
        "x=bf16:sr(7)/w=bf16:rup", "fp8_e4m3/acc=e8m13:rtz(align=32)", "mul=realm/x=e4m3/w=e5m2"]
QUICK = settings(max_examples=8)

numbers = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-4, 4, width=32)


def matrices(draw, shape):
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    matrix = random.standard_normal(shape).astype(np.float32)
    matrix *= np.exp2(random.integers(-6, 7, shape)).astype(np.float32)
    spots = draw(st.lists(st.tuples(st.integers(0, matrix.size - 1), numbers), max_size=6))
    for place, number in spots:
        matrix.flat[place] = number
    return matrix


@st.composite
def operands(draw):
    m, n, k = draw(st.integers(1, 4)), draw(st.integers(1, 5)), 256  # blocks divide it
    return matrices(draw, (m, k)), matrices(draw, (n, k))


@pytest.mark.parametrize("arith", PRESETS + MORE)
@QUICK
@given(operands())
def test_matmul_is_the_reference(reference, arith, xw):
    x, w = xw
    want = bits(reference(arith, x, w))
    np.testing.assert_array_equal(bits(napier.matmul(x, w.T, arith)), want)
    np.testing.assert_array_equal(bits(napier.matmul(x, np.ascontiguousarray(w.T), arith)), want)
    np.testing.assert_array_equal(bits(napier.pack(w, arith)(x)), want)


# Every format by every multiplier and accumulator, a few of the many thousand at a time.
CHOSEN = ("ant4", "bitmod3", "bitmod4")  # by group, so that they need one
FORMATS = [name + "@block32" * (name in CHOSEN) for name in napier.format_names()
           if napier.Format(name).bits <= 32]
MULTIPLIERS = ["exact", "lmul", "lmul(l=5)", "lmul(reading=formula,l=3)", "mitchell", "realm",
               "exact:e4m3", "lmul:e5m2", "exact:bf16:rtz"]
ACCUMULATORS = ["f32", "f64", "f16", "bf16", "e8m7:rtz", "e4m3", "e5m10(chunk=16)", "exact",
                "int32", "f32(align=16,extra=2)", "e4m3(chunk=32)"]
ROUNDINGS = ["", ":rtz", ":rup", ":rdn", ":rna", ":rto", ":sr(3)", ":inf"]


@settings(max_examples=150)
@given(operands(), st.sampled_from(FORMATS), st.sampled_from(FORMATS),
       st.sampled_from(ROUNDINGS), st.sampled_from(MULTIPLIERS), st.sampled_from(ACCUMULATORS),
       st.sampled_from([0.0, np.nan, np.inf, -np.inf]))
def test_any_arithmetic_is_the_reference(reference, xw, x_format, w_format, rounding, multiplier,
                                         accumulator, odd):
    x_operand = x_format.replace("@", rounding + "@") if "@" in x_format else x_format + rounding
    arith = f"x={x_operand}/w={w_format}/mul={multiplier}/acc={accumulator}"
    try:
        napier.Arithmetic(arith)
        x, w = xw
        napier.pack(w, arith)
    except napier.Error:
        assume(False)  # what cannot be together; test_every_part_is_used sees that most can
    x.flat[7] = odd
    want = bits(reference(arith, x, w))
    np.testing.assert_array_equal(bits(napier.matmul(x, w.T, arith)), want)
    USED.update((x_format, w_format, rounding, multiplier, accumulator))


USED = set()


def test_every_part_is_used():
    """By the test before, or by one arithmetic of its own: none is refused whatever it is with."""
    random = np.random.default_rng(8)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 32), (3, 32)))
    for part, forms in (("x=", FORMATS), ("x=e4m3", ROUNDINGS), ("mul=", MULTIPLIERS),
                        ("acc=", ACCUMULATORS)):
        for name in forms:
            integers = part == "acc=" and name == "int32"
            arith = "x=int8/w=int8/acc=int32" if integers else part + name
            assert napier.matmul(x, w.T, arith).shape == (2, 3), arith


@pytest.mark.parametrize("n", [15, 16, 17, 33, 64])
@pytest.mark.parametrize("k", [1, 3, 4, 7, 64])
def test_weights_across_the_memory(reference, n, k):
    """They are turned four by four, sixteen at a time, with what is left one by one."""
    random = np.random.default_rng(n * 100 + k)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in ((2, k), (n, k)))
    want = bits(reference("bf16", x, w))
    across = np.ascontiguousarray(w.T)
    np.testing.assert_array_equal(bits(napier.matmul(x, across, "bf16")), want)
    np.testing.assert_array_equal(bits(napier.pack(across.T, "bf16")(x)), want)


def test_out_may_be_an_operand(reference):
    random = np.random.default_rng(9)
    a = random.standard_normal((64, 64)).astype(np.float32)
    b = random.standard_normal((64, 64)).astype(np.float32)
    want = reference("lmul-m4", a, b.T)
    for operand, others in ((0, (a, b)), (1, (a, b))):
        pair = [v.copy() for v in others]
        np.testing.assert_array_equal(napier.matmul(*pair, "lmul-m4", out=pair[operand]), want)
    whole = np.concatenate([a, np.zeros((1, 64), np.float32)])
    got = napier.matmul(whole[:-1], b, "lmul-m4", out=whole[1:])
    np.testing.assert_array_equal(got, want)
    backwards = a.copy()
    np.testing.assert_array_equal(
        napier.matmul(backwards[::-1], b, "lmul-m4", out=backwards), want[::-1])
    x = a.copy()
    np.testing.assert_array_equal(napier.pack(b.T, "lmul-m4")(x, out=x), want)


def test_pythons_own_numbers_are_rounded_and_no_others():
    np.testing.assert_array_equal(napier.matmul([[1, 2]], [[3.0], [0.1]], "f32"),
                                  [[np.float32(3) + np.float32(2) * np.float32(0.1)]])
    assert napier.multiply(3, 1.5, "f32") == 4.5
    ones = np.ones((1, 2))
    for values in (memoryview(ones), [ones[0]], Arrayed(ones)):
        with pytest.raises(TypeError, match="float64"):
            napier.matmul(values, [[1.0], [1.0]], "f32")
    # One rounding, from what the array holds.
    tie = 1 + 2**-4 + 2**-30
    for values in ([tie], np.array([tie]), Arrayed(np.array([tie])), memoryview(np.array([tie]))):
        assert napier.Format("e4m3fn").round(values)[0] == 1.125


class Arrayed:
    """What NumPy reads by its __array__, as a Series of pandas."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


UNSCALED = [name for name in PRESETS
            if "@" not in napier.Arithmetic(name).x + napier.Arithmetic(name).w]


@pytest.mark.parametrize("arith", [*UNSCALED, "mul=lmul(reading=formula,l=3):e4m3", "x=e5m2:inf"])
@QUICK
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=32))
def test_multiply_is_the_reference(reference, arith, pairs):
    x, w = (np.array(column, np.float32) for column in zip(*pairs, strict=True))
    # One product, summed into an accumulator that keeps it whole.
    want = [reference(arith + "/acc=f64", x[i:i + 1, None], w[i:i + 1, None])[0, 0]
            for i in range(len(x))]
    got = napier.multiply(x, w, arith)
    want = np.where(np.equal(want, 0), np.copysign(0, np.copysign(1, x) * np.copysign(1, w)), want)
    np.testing.assert_array_equal(bits(got), bits(want))  # a sum from zero loses the sign of -0


def test_multiply_scales_rows_along_the_last_axis():
    random = np.random.default_rng(1)
    x, w = random.standard_normal((2, 3, 64)), random.standard_normal((3, 64))
    x, w = x.astype(np.float32), w.astype(np.float32)

    def int8(v):
        scale = np.abs(v).max(-1, keepdims=True) / np.float32(127)
        return np.rint(v.astype(np.float64) / scale).clip(-127, 127), scale

    (xq, xs), (wq, ws) = int8(x), int8(w)
    got = napier.multiply(x, w, "int8")
    np.testing.assert_array_equal(got, (xq * wq).astype(np.float32) * xs * ws)
    np.testing.assert_array_equal(napier.quantise(x, "int8"), xq * xs.astype(np.float64))


@given(st.sampled_from([((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)),
                        ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (7, 4, 5)), ((3, 4), (2, 4, 5)),
                        ((0, 4), (4, 5)), ((2, 0), (0, 3)), ((1, 1), (1, 1))]),
       st.integers(0, 1000))
@QUICK
def test_shapes_are_numpys(shapes, seed):
    random = np.random.default_rng(seed)
    a, b = (random.integers(-8, 9, shape).astype(np.float32) for shape in shapes)
    got = napier.matmul(a, b, "f32")  # small integers: any order gives the same sums
    assert got.shape == (a @ b).shape and got.dtype == np.float32
    np.testing.assert_array_equal(got, a @ b)


@given(st.integers(0, 1000))
@QUICK
def test_any_strides(seed):
    random = np.random.default_rng(seed)
    a = random.standard_normal((3, 8, 40)).astype(np.float32)
    b = random.standard_normal((3, 40, 6)).astype(np.float32)
    want = napier.matmul(a, b, "lmul-m4")
    layouts = [lambda v: v[::-1][::-1], lambda v: np.asfortranarray(v),
               lambda v: np.repeat(v, 2, -1)[..., ::2], lambda v: v.transpose(2, 0, 1).copy()
               .transpose(1, 2, 0)]
    for change in layouts:
        np.testing.assert_array_equal(napier.matmul(change(a), change(b), "lmul-m4"), want)
    reverse = napier.matmul(a[..., ::-1, :], b, "lmul-m4")
    np.testing.assert_array_equal(reverse, want[..., ::-1, :])
    record = np.zeros((8, 40), [("v", np.float32), ("pad", np.int8)])
    record["v"] = a[0]
    np.testing.assert_array_equal(napier.matmul(record["v"], b[0], "lmul-m4"), want[0])


def test_a_tensor_scale_belongs_to_one_matrix_of_a_batch(reference):
    random = np.random.default_rng(3)
    a = random.standard_normal((2, 4, 64)).astype(np.float32)
    a[1] *= 100
    b = random.standard_normal((64, 3)).astype(np.float32)
    got = napier.matmul(a, b, "nvfp4")
    for i in range(2):
        np.testing.assert_array_equal(got[i], reference("nvfp4", a[i], b.T))


def test_ml_dtypes_in_and_out():
    random = np.random.default_rng(4)
    for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.float16, np.int8):
        a, b = (random.integers(-3, 4, (4, 4)).astype(dtype) for _ in range(2))
        want = a.astype(np.float32) @ b.astype(np.float32)
        np.testing.assert_array_equal(napier.matmul(a, b, "f32"), want)
        got = napier.matmul(a, b, "f32", dtype=ml_dtypes.bfloat16)
        assert got.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(got, want.astype(ml_dtypes.bfloat16))


class Exported:
    """An array that only DLPack gives access to."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack__(self, **options):
        options.pop("dl_device", None)
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


def test_dlpack_without_a_copy():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    from napier._arrays import as_float32
    assert as_float32(Exported(array), "a").ctypes.data == array.ctypes.data
    assert as_float32(array.T, "a").ctypes.data == array.ctypes.data
    np.testing.assert_array_equal(napier.matmul(Exported(array), array.T, "f32"), array @ array.T)


def test_out_is_written_and_nothing_else():
    a = np.ones((2, 3), np.float32)
    whole = np.zeros((4, 2), np.float32)
    assert napier.matmul(a, a.T, "f32", out=whole[1:3]).base is whole
    np.testing.assert_array_equal(whole, [[0, 0], [3, 3], [3, 3], [0, 0]])


def test_threads_change_nothing_and_the_lock_is_released():
    random = np.random.default_rng(5)
    a, b = (random.standard_normal((256, 256)).astype(np.float32) for _ in range(2))
    before = napier.get_threads()
    want = napier.matmul(a, b, "lmul-m4/acc=bf16")
    done = threading.Event()
    ticks = 0
    try:
        for threads in (1, 2, 3):
            napier.set_threads(threads)
            assert napier.get_threads() == threads
            np.testing.assert_array_equal(napier.matmul(a, b, "lmul-m4/acc=bf16"), want)

        def work():
            napier.matmul(np.tile(a, (8, 1)), b, "fp8-kulisch")
            done.set()

        worker = threading.Thread(target=work)
        worker.start()
        while not done.is_set():
            ticks += 1
            time.sleep(0.0005)
        worker.join()
    finally:
        napier.set_threads(before)
    assert ticks > 3  # else this thread had waited for the lock


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SKIPPED: needs fork")
def test_a_forked_child_computes():
    a = np.ones((64, 64), np.float32)
    napier.matmul(a, a, "f32")
    child = os.fork()
    if child == 0:
        os._exit(0 if (napier.matmul(a, a, "f32") == 64).all() else 1)
    for _ in range(400):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_arithmetics_and_plans_are_values():
    a = napier.Arithmetic("lmul-m4")
    assert str(a) == "x=e8m4:rtz/w=e8m4:rtz/mul=lmul/acc=f32" and a.name == "lmul-m4"
    assert pickle.loads(pickle.dumps(a)) == a == napier.Arithmetic(str(a))
    assert len({a, napier.Arithmetic(str(a)), napier.Arithmetic("f32")}) == 2
    assert (a.x, a.w, a.multiplier, a.accumulator) == ("e8m4:rtz", "e8m4:rtz", "lmul", "f32")
    assert "1" in a.explain(1.5, 2.0) and a.kernel()[0] in ("dot", "adder")
    plan = napier.Plan("kq*->lmul-m4; *->bf16")
    assert [plan.match(name) for name in ("kq-0", "x")] == [0, 1]
    assert napier.Plan("a->f32").match("b") is None and plan.rules[0] == ("kq*", a)


F = np.ones((2, 4), np.float32)


@pytest.mark.parametrize("call, error, words", [
    (lambda: napier.matmul(F, F.T, "lmul-m99"), napier.ParseError, "position"),
    (lambda: napier.matmul(F, F.T, 4), TypeError, "written form"),
    (lambda: napier.matmul(F.astype(np.float64), F.T, "f32"), TypeError, "a has dtype float64.*32"),
    (lambda: napier.matmul(F, F.T.astype(np.int64), "f32"), TypeError, "b has dtype int64"),
    (lambda: napier.matmul(F, F.T.astype(complex), "f32"), TypeError, "complex"),
    (lambda: napier.matmul(F, "text", "f32"), TypeError, "b "),
    (lambda: napier.matmul(F, object(), "f32"), TypeError, "no array"),
    (lambda: napier.matmul(F, F, "f32"), ValueError, "4 columns.*2 rows"),
    (lambda: napier.matmul(F[0, 0], F, "f32"), ValueError, "multiply"),
    (lambda: napier.matmul(np.ones((2, 2, 4), "f4"), np.ones((3, 4, 2), "f4"), "f32"), ValueError,
     "broadcast"),
    (lambda: napier.matmul(F, F.T, "mxfp4"), napier.Error, "block"),
    (lambda: napier.matmul(F, F.T, "f32", out=np.ones((2, 2))), TypeError, "float32"),
    (lambda: napier.matmul(F, F.T, "f32", out=np.ones((3, 2), "f4")), ValueError, r"\(2, 2\)"),
    (lambda: napier.matmul(F, F.T, "f32", out=np.ones((4, 2), "f4")[::2]), ValueError,
     "contiguous"),
    (lambda: napier.matmul(Exported(F, (2, 0)), F.T, "f32"), BufferError, "CUDA.*cpu"),
    (lambda: napier.multiply(F, np.ones(3, "f4"), "f32"), ValueError, "do not broadcast"),
    (lambda: napier.multiply(np.ma.masked_array(F, F > 0), F, "f32"), TypeError, "masked"),
    (lambda: napier.multiply(1e300, F, "f32"), TypeError, "beyond float32"),
    (lambda: napier.pack(F[0], "f32"), ValueError, r"\(n, k\)"),
    (lambda: napier.pack(F, "f32")(F[:, :2]), ValueError, "dimension of 4"),
    (lambda: napier.quantise(F, "f32", "y"), ValueError, "'x'"),
    (lambda: napier.set_threads(0), napier.Error, "1 to 512"),
    (lambda: napier.Plan("a->b->c"), napier.Error, "position"),
    (lambda: napier.Plan("no/such.toml"), napier.Error, "no/such.toml"),
    (lambda: napier.Plan(str(ROOT / "recipes" / "mobilequant.toml")), napier.Error, "for a model"),
])
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
    assert issubclass(napier.ParseError, napier.Error) and issubclass(napier.Error, ValueError)
