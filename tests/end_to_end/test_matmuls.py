"""Every matrix product of a forward pass under L-Mul, on the oracle's own operands: by the oracle
and by Napier's kernels."""
import numpy as np
import pytest

from oracle.lmul import LMul

ARITHMETICS = {
    "lmul-m3": LMul(3),
    "lmul-m4": LMul(4),
    "lmul-m6": LMul(6),  # its adder's mantissa sum can pass 2
    "lmul-m7": LMul(7),
    "lmul-formula-m3": LMul(3, "formula"),
    "lmul-formula-m4": LMul(4, "formula"),
}
EPSILON = 2.0**-23


@pytest.fixture(scope="module", params=ARITHMETICS)
def case(request, model, tokens, full_tier):
    """(arithmetic's name, oracle, [(name, x, w)]): the matrix products of one chunk, x and w with
    two axes, one entry for each head; L-Mul is in every one of them."""
    oracle = ARITHMETICS[request.param]
    operands = []

    def multiply(name, x, w):
        heads = [(x, w)] if x.ndim == 2 else zip(x, w)
        operands.extend((name, *pair) for pair in heads)
        return oracle.matmul(x, w)

    chunk = np.array(tokens[:512 if full_tier else 96])
    model.logits(chunk, multiply)
    names = {name for name, _, _ in operands}
    assert len(names) == 9 * model.layers + 1
    return request.param, oracle, operands


def same_bits(a, b):
    """Whether two f32 arrays are the same, signs of zeros apart: a sum from +0 has no -0."""
    zero = np.float32(0)
    return np.array_equal((a + zero).view(np.uint32), (b + zero).view(np.uint32))


def test_products_bit_for_bit(case, bridge, report):
    arithmetic, oracle, operands = case
    count, kernels = 0, set()
    for name, x, w in operands:
        actual, kernel = bridge.products(arithmetic, x, w)
        expected = oracle.products(x.T[:, :, None], w.T[:, None, :])
        assert same_bits(actual, expected), name
        count += actual.size
        kernels.add(kernel)
    report(f"{arithmetic}: {count:,} single products, kernel {', '.join(kernels)}: same bits")


def test_sums(case, bridge, report):
    """f32 sums: within the bound of recursive summation of the exact sum of the same products, and
    in the order that include/napier/gemm.hpp states, bit for bit."""
    arithmetic, oracle, operands = case
    count, worst, kernels = 0, 0.0, set()
    for name, x, w in operands:
        actual, kernel = bridge.multiply(arithmetic, x, w)
        exact = oracle.matmul(x, w, "f64").astype(np.float64)
        bound = x.shape[1] * EPSILON * oracle.matmul(abs(x), abs(w), "f64").astype(np.float64)
        error = abs(actual - exact)
        assert np.all(error <= bound), name
        worst = max(worst, float(np.max(error / np.maximum(bound, 1e-300))))
        assert same_bits(actual, oracle.matmul(x, w, "f32")), f"{name}: not in order of k"
        count += actual.size
        kernels.add(kernel)
    report(f"{arithmetic}: {count:,} sums of {len(operands)} matrix products, kernel "
           f"{', '.join(kernels)}: same bits as f32 sums in order of k; at most {worst:.2f} of the "
           "bound K 2^-23 sum |products| from the exact sums")


def test_same_bits_with_two_threads(case, bridge):
    arithmetic, _, operands = case
    for name, x, w in operands:
        one, two = (bridge.multiply(arithmetic, x, w, threads)[0] for threads in (1, 2))
        assert np.array_equal(one.view(np.uint32), two.view(np.uint32)), name


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_products_of_extremes(arithmetic, bridge, seed):
    """Zeros, subnormals, products beyond f32's largest and below its smallest number."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 0x7F800000, 300).astype(np.uint32)
    bits[:60] &= 0x007FFFFF
    bits[60:100] = rng.integers(0x7F000000, 0x7F800000, 40)
    bits[100:110] = 0
    values = bits.view(np.float32) * rng.choice([-1, 1], 300).astype(np.float32)
    actual, _ = bridge.products(arithmetic, values[:, None], values[:, None])
    assert same_bits(actual[0], ARITHMETICS[arithmetic].products(values[:, None], values))


def test_a_wrong_product_is_found(case, bridge):
    arithmetic, oracle, operands = case
    _, x, w = operands[0]
    other = LMul(oracle.kept, "formula" if oracle.reading == "adder" else "adder")
    actual, _ = bridge.products(arithmetic, x, w)
    assert not same_bits(actual, other.products(x.T[:, :, None], w.T[:, None, :]))
