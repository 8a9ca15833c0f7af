"""Products against exact rationals: all 65,536 pairs of the 8-bit formats under every multiplier of
the registry, every preset on random operands, and what every multiplier has in common."""
import itertools
from fractions import Fraction

import bridge as bridge_module
import numpy as np
import oracle
import pytest

BRIDGE = bridge_module.load()
EIGHT_BITS = ["e4m3fn", "e5m2"]
CODES = np.arange(256)
F32 = oracle.Format(8, 23, 127)

# What is known of a family besides its ProductForm: the formula of its source, by its settings.
FORMULAS = {
    "exact": lambda x, w, s: x * w,
    "lmul": lambda x, w, s: oracle.lmul(x, w, s["k"], s["l"], s["reading"]),
    "mitchell": lambda x, w, s: oracle.mitchell(x, w, s["k"]),
}
# Product formats, with what oracle.round_exact needs; None: as the family has it by default.
CASTS = [None] + [(name, rounding, overflow) for name in ("e4m3fn", "e5m2", "f16")
                  for rounding, overflow in (("rne", "sat"), ("rtz", "inf"), ("rna", "inf"),
                                             ("rup", "sat"), ("rdn", "inf"), ("rto", "sat"))]


def format_of(name):
    return oracle.Format(*BRIDGE.format(name)[0])


def operand(f, code, subnormals="keep"):
    """(number, is negative) of a code, as a multiplier is given it."""
    magnitude = int(code) % 2 ** (f.e + f.m)
    negative = bool(f.signed and int(code) >> (f.e + f.m) & 1)
    if f.nan_replaces_zero and negative and magnitude == 0:
        return "nan", False
    if magnitude > f.max_code:
        infinite = f.has_infinity and magnitude == f.max_code + 1
        return ("inf", negative) if infinite else ("nan", False)
    value = f.exact(magnitude)
    if f.subnormals and 0 < magnitude < 2**f.m:
        if subnormals == "ftz":
            value = Fraction(0)
        if subnormals == "literal":  # the bits under an exponent field of 0 and a leading 1
            value = (1 + Fraction(magnitude, 2**f.m)) * Fraction(2) ** -f.bias
    return (-value if negative else value), negative


def expected_product(multiply, x, w, cast):
    """With the rounding of the product: (format, rounding, overflow) or None."""
    number, negative = oracle.product(multiply, x, w)
    if cast is None or number == "nan":
        return number, negative
    f, rounding, overflow = cast
    if f == F32 and number != "inf" and (abs(number.numerator) < 2**24 and
                                         number.denominator < 2**120):
        return number, negative  # holds it
    if number == "inf":
        if overflow == "inf":
            return ("inf", negative) if f.has_infinity else (
                ("nan", False) if f.has_nan else (f.largest * (-1) ** negative, negative))
        return f.largest * (-1) ** negative, negative
    return f.round_exact(number, negative, rounding, overflow)


def parts(number, negative):
    """The four members of an exact number, as the bridge gives them."""
    if number == "nan":
        return bridge_module.NAN, 0, 0, 0
    if number == "inf":
        return bridge_module.INFINITE, negative, 0, 0
    if number == 0:
        return bridge_module.ZERO, negative, 0, 0
    integer, denominator = abs(number.numerator), number.denominator
    length = integer.bit_length()
    significand, rest = divmod(integer << 64, 1 << length)
    assert denominator & (denominator - 1) == 0 and rest == 0
    return bridge_module.FINITE, negative, length - denominator.bit_length(), significand


def check(arithmetic, multiply, fx, fw, x_codes, w_codes, cast, subnormals="keep"):
    """Every product of the pairs, exactly. Each pair of magnitudes is worked out once a sign."""
    sides = []
    for f, codes in ((fx, x_codes), (fw, w_codes)):
        distinct, index = np.unique(codes, return_inverse=True)
        numbers = [operand(f, c, subnormals) for c in distinct]
        magnitudes = [n if isinstance(n, str) else abs(n) for n, _ in numbers]
        known = {m: i for i, m in enumerate(dict.fromkeys(magnitudes))}
        sides.append((list(known), np.array([known[m] for m in magnitudes])[index],
                      np.array([negative for _, negative in numbers])[index]))
    (xs, x_index, x_negative), (ws, w_index, w_negative) = sides
    negative = x_negative != w_negative
    cases, index = np.unique((x_index * len(ws) + w_index) * 2 + negative, return_inverse=True)
    products = {}

    def once(a, b):
        if (x, w) not in products:
            products[x, w] = multiply(a, b)
        return products[x, w]

    expected = []
    for case in cases.tolist():
        x, w = divmod(case // 2, len(ws))
        expected.append(parts(*expected_product(once, (xs[x], bool(case % 2)), (ws[w], False),
                                                cast)))
    ours = BRIDGE.multiply(arithmetic, x_codes, w_codes)
    for name, column in zip(("kind", "negative", "exponent", "significand"), zip(*expected)):
        mine = getattr(ours, name)
        wrong = np.flatnonzero(mine != np.array(column, mine.dtype)[index])
        if wrong.size:
            i = wrong[0]
            pytest.fail(f"{arithmetic}: {x_codes[i]:#x} * {w_codes[i]:#x}: {ours.exact(i)}, not "
                        f"{expected[index[i]]} ({wrong.size} differ in their {name})")


def all_pairs():
    return np.repeat(CODES, 256), np.tile(CODES, 256)


def settings_of(family, mantissa_bits):
    """Sets of settings to try, as ({key: text}): the default, then every combination of every word
    and of a choice of numbers that holds all k up to the mantissa's, 0, and the ends."""
    choices = []
    for key, values in BRIDGE.multipliers()[family].items():
        if values[0].isdigit():
            few = [v for v in values if int(v) <= mantissa_bits + 2] + values[-1:]
            values = few
        choices.append([(key, v) for v in [None, *values]])
    for combination in itertools.product(*choices):
        yield {key: value for key, value in combination if value is not None}


def written(family, settings, cast=None):
    inside = ",".join(f"{key}={value}" for key, value in settings.items())
    text = f"{family}({inside})" if inside else family
    return text if cast is None else text + ":" + ":".join(cast)


def resolved(family, settings, fx, fw):
    """The settings with the paper's defaults: all mantissa bits, l(k)."""
    k = int(settings.get("k", max(fx.m, fw.m)))
    return {"reading": settings.get("reading", "adder"), "k": k,
            "l": int(settings.get("l", oracle.paper_offset_bits(k)))}


def default_cast(family):
    """Only exact products stay unrounded; the others are f32 numbers unless named."""
    return None if family == "exact" else (F32, "rne", "sat")


@pytest.mark.parametrize("name", EIGHT_BITS)
@pytest.mark.parametrize("family", list(BRIDGE.multipliers()))
def test_all_products(family, name, full_tier, seed):
    """Under every setting; sampled where there are many, but for the default and the paper's k."""
    f = format_of(name)
    tried = list(settings_of(family, f.m))
    if not full_tier and len(tried) > 5:
        always = [s for s in tried if not s or s in ({"k": "2"}, {"k": "3"},
                                                     {"reading": "formula"})]
        picked = np.random.default_rng(seed).choice(len(tried), 3, replace=False)
        tried = always + [tried[i] for i in picked if tried[i] not in always]
    for settings in tried:
        arithmetic = f"x={name}/w={name}/mul={written(family, settings)}"
        s = resolved(family, settings, f, f)
        form = BRIDGE.form(arithmetic)
        if family in FORMULAS:
            check(arithmetic, lambda a, b: FORMULAS[family](a, b, s), f, f, *all_pairs(),
                  default_cast(family))
        if form[0] != "other":
            # As the form that kernels go by says, too.
            random = np.random.default_rng(seed).integers(0, 256, (2, 3000))
            check(arithmetic, lambda a, b: oracle.of_form(form, a, b), f, f, *random,
                  default_cast(family))


@pytest.mark.parametrize("name", EIGHT_BITS)
@pytest.mark.parametrize("family", [f for f in BRIDGE.multipliers() if f in FORMULAS])
def test_all_rounded_products(family, name, full_tier):
    """Products rounded to e4m3, e5m2 and f16 under several roundings."""
    f = format_of(name)
    s = resolved(family, {}, f, f)
    for number, cast in enumerate(CASTS[1:]):
        if not full_tier and number % 3 != EIGHT_BITS.index(name):
            continue
        arithmetic = f"x={name}/w={name}/mul={written(family, {}, cast)}"
        check(arithmetic, lambda a, b: FORMULAS[family](a, b, s), f, f, *all_pairs(),
              (format_of(cast[0]), *cast[1:]))


@pytest.mark.parametrize("subnormals", ["keep", "ftz", "literal"])
@pytest.mark.parametrize("family", [f for f in BRIDGE.multipliers() if f in FORMULAS])
def test_subnormal_operands(family, subnormals):
    """Of two formats at once: all of e4m3 times all of e5m2 where one is subnormal."""
    fx, fw = format_of("e4m3fn"), format_of("e5m2")
    x, w = all_pairs()
    some = ((x % 128) < 8) | ((w % 128) < 4)
    suffix = "" if subnormals == "keep" else ":" + subnormals
    arithmetic = f"x=e4m3fn{suffix}/w=e5m2{suffix}/mul={family}"
    s = resolved(family, {}, fx, fw)
    check(arithmetic, lambda a, b: FORMULAS[family](a, b, s), fx, fw, x[some], w[some],
          default_cast(family), subnormals)


@pytest.mark.parametrize("family", list(BRIDGE.multipliers()))
def test_common_to_all(family):
    """Zeros, infinities, NaNs and signs: the same for a multiplier whatever it computes."""
    values = np.array([0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan])
    # An infinity into a saturating product format would be its largest number.
    arithmetic = f"x=f16/w=f16/mul={family}:f32:inf"
    codes = BRIDGE.encode("f16", values, "rne", "inf")
    codes = codes.astype(np.int64)
    x, w = np.repeat(codes, values.size), np.tile(codes, values.size)
    ours = BRIDGE.multiply(arithmetic, x, w)
    with np.errstate(invalid="ignore"):
        machine = np.repeat(values, values.size) * np.tile(values, values.size)
    special = (machine == 0) | ~np.isfinite(machine)
    finite = ours[special].doubles()
    expected = machine[special]
    assert (np.isnan(finite) == np.isnan(expected)).all()
    defined = ~np.isnan(expected)
    assert (finite[defined].view(np.uint64) == expected[defined].view(np.uint64)).all()
    # Signs are xor'ed, and only signs.
    rest = ours[~special]
    assert (rest.negative == np.signbit(machine[~special])).all()
    assert len(set(rest.significand.tolist())) == 1


@pytest.mark.parametrize("name", [name for name, written in BRIDGE.presets().items()
                                  if "@" not in written])
def test_presets(name, seed):
    """Each on random f32 values: quantised as its format says, then multiplied as its family says;
    half of them of any exponent (products overflow and underflow f32), half near 1."""
    random = np.random.default_rng(seed)
    n = 500
    any_bits = random.integers(0, 2**32, (2, n), dtype=np.uint32).view(np.float32)
    near = random.standard_normal((2, n)).astype(np.float32)
    with np.errstate(invalid="ignore"):
        values = np.concatenate([any_bits, near], axis=1).astype(np.float64)
    written_as = BRIDGE.presets()[name]
    fields = dict(field.split("=", 1) for field in written_as.split("/"))
    operands, numbers = [], []
    for side, v in zip("xw", values):
        text, *settings = fields[side].split(":")
        rounding = next((s for s in settings if s in oracle.ROUNDINGS), "rne")
        overflow = "inf" if "inf" in settings else "sat"
        f = format_of(text)
        codes = BRIDGE.encode(text, v, rounding, overflow).astype(np.int64)
        quantised = BRIDGE.quantise(name, side, v)
        for i in range(v.size):
            if np.isnan(v[i]):
                expected = "nan", False
            elif np.isinf(v[i]):
                expected = expected_product(None, ("inf", bool(v[i] < 0)), (Fraction(1), False),
                                            (f, rounding, overflow))
            else:
                expected = f.round_exact(Fraction(float(v[i])), bool(np.signbit(v[i])), rounding,
                                         overflow)
            assert quantised.exact(i) == expected, f"{name} {side}={v[i]!r}"
        operands.append((f, codes))
        numbers.append(v)
    (fx, x_codes), (fw, w_codes) = operands
    multiplier = fields.get("mul", "exact")
    family = multiplier.split("(")[0]
    settings = dict(s.split("=") for s in multiplier.rstrip(")").split("(")[1:])
    form = BRIDGE.form(name)
    s = resolved(family, settings, fx, fw)
    formula = FORMULAS.get(family, lambda a, b, s: oracle.of_form(form, a, b))
    check(name, lambda a, b: formula(a, b, s), fx, fw, x_codes, w_codes,
          default_cast(family))


def test_no_offset_at_k_0():
    """The paper's l(0) = 0 would double the products of powers of two; l = 0 is no offset here."""
    x = np.array([1.0, 2.0, 1.5, 0.75])
    codes = BRIDGE.encode("f16", x)
    ours = BRIDGE.multiply("x=f16/w=f16/mul=lmul(k=0)", codes, codes).doubles()
    assert list(ours) == [1.0, 4.0, 1.0, 0.25]


def test_accumulators(seed):
    """sum + term, rounded once; the machine's own additions for f32 and f64."""
    random = np.random.default_rng(seed)
    n = 4000
    sums = random.standard_normal(n) * 2.0 ** random.integers(-12, 12, n)
    terms = random.standard_normal(n) * 2.0 ** random.integers(-12, 12, n)
    terms[:50] = -sums[:50]
    ours = BRIDGE.accumulate("acc=f64", sums, terms).doubles()
    assert (ours == sums + terms).all()
    single = sums.astype(np.float32), terms.astype(np.float32)
    ours = BRIDGE.accumulate("acc=f32", *(a.astype(np.float64) for a in single)).doubles()
    assert (ours == single[0] + single[1]).all()
    huge = np.array([3e38, -3e38])
    assert list(BRIDGE.accumulate("acc=f32", huge, huge).doubles()) == [np.inf, -np.inf]
    assert BRIDGE.accumulate("acc=f16", [6e4], [6e4]).doubles()[0] == 65504
    for text in ("f16", "bf16", "e4m3fn", "e5m2", "e6m9", "e0m12b8", "tf32"):
        f = format_of(text)
        for rounding in oracle.ROUNDINGS:
            ours = BRIDGE.accumulate(f"acc={text}:{rounding}:sat", sums[:400], terms[:400])
            for i in range(400):
                exact = Fraction(sums[i]) + Fraction(terms[i])
                assert ours.exact(i) == f.round_exact(exact, exact < 0, rounding), (
                    f"{text}:{rounding} {sums[i]!r} + {terms[i]!r}")
