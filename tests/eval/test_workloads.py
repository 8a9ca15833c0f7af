"""Samples of arithmetic against Python's integers, fractions and decimals, which compute anew from
the text of the question."""
import json
import math
import re
from decimal import ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction

import pytest

FAMILIES = ["nupa-", "sin-", "sqrt-", "equations-", "positional-"]
COOKBOOK = """
add-integer add-float add-fraction add-easy-fraction add-scientific sub-integer sub-float
sub-fraction sub-scientific multiply-integer multiply-float multiply-fraction multiply-scientific
multiply-easy-integer multiply-easy-float multiply-easy-fraction multiply-easy-scientific
truediv-integer truediv-fraction floordiv-integer mod-integer mod-easy-integer max-integer max-float
max-fraction max-scientific max-hard-integer max-hard-float max-hard-scientific min-integer
min-float min-fraction min-scientific min-hard-integer min-hard-float min-hard-scientific
digit-max-integer digit-max-float digit-min-integer digit-min-float digit-add-integer
digit-add-float get-digit-integer get-digit-float length-integer length-float count-integer
to-float-fraction to-float-scientific to-scient-integer to-scient-float sig-integer sig-float
""".split()


@pytest.fixture(scope="module")
def samples(napier, seed):
    def make(task, part, count=200):
        done = napier("tasks", "--task", f"arithmetic/{task}={seed % 10**9}", "--samples", part,
                      "--limit", count)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(lines) == count
        return lines

    return make


@pytest.fixture(scope="module")
def listed(napier):
    text = napier("tasks", "--list").stdout
    return re.findall(r"^arithmetic/(\S+)$", text, re.MULTILINE)


def test_every_workload_of_these_families_has_a_test_here(listed):
    tested = {f"nupa-{name}" for name in COOKBOOK}
    tested |= {f"{name}-{form}" for name in ("sin", "sqrt") for form in ("plain", "detailed")}
    tested |= {f"equations-{n}{steps}" for n in (3, 4, 5) for steps in ("", "-steps")}
    tested |= {f"positional-multiply-{n}{form}" for n in (5, 15)
               for form in ("", "-padded", "-padded-reverse")}
    tested |= {"positional-add", "positional-add-spaces"}
    assert {name for name in listed if name.startswith(tuple(FAMILIES))} == tested


NUMBER = {"integer": r"\d+", "float": r"\d+\.\d+", "fraction": r"\d+/\d+",
          "scientific": r"\d\.\d+e\d+"}
HINT = {"integer": "like 123 . ", "float": "like 10.4 . ", "fraction": "like 7/13 . ",
        "scientific": "in the range [1, 10). "}


def value(text):
    return Fraction(text)  # of all four notations


def written(number, notation):
    """A number's text, from its value alone."""
    if notation == "integer":
        assert number.denominator == 1
        return str(number)
    if notation == "fraction":
        return f"{number.numerator}/{number.denominator}"
    with localcontext() as context:
        context.prec = 1000
        exact = Decimal(number.numerator) / Decimal(number.denominator)
        assert Fraction(exact) == number
        if notation == "float":
            text = f"{exact:f}"
            text = text.rstrip("0") if "." in text else text + "."
            return text + "0" if text.endswith(".") else text
        mantissa, exponent = f"{exact:e}".lower().split("e") if number else ("0", "0")
        mantissa = mantissa.rstrip("0") if "." in mantissa else mantissa + "."
        return f"{mantissa + '0' if mantissa.endswith('.') else mantissa}e{int(exponent)}"


def by_digit(a, b, join):
    (a, *a_decimals), (b, *b_decimals) = a.split("."), b.split(".")
    width = max(len(a), len(b))
    whole = [join(int(x), int(y)) for x, y in zip(a.zfill(width), b.zfill(width))]
    text = str(int("".join(map(str, whole))))
    if not a_decimals:
        return text
    width = max(len(a_decimals[0]), len(b_decimals[0]))
    decimals = [join(int(x), int(y)) for x, y in zip(a_decimals[0].ljust(width, "0"),
                                                     b_decimals[0].ljust(width, "0"))]
    return text + "." + ("".join(map(str, decimals)).rstrip("0") or "0")


def figures(text, count):
    with localcontext() as context:
        context.prec = 1000
        rounded = Decimal(text)
        context.prec = count  # rounds half to even
        rounded = +rounded
    mantissa, exponent = f"{rounded:.{count - 1}e}".split("e")
    return f"{mantissa}e{int(exponent) if rounded else 0}"  # Python has 0.0e+1


def digits(text):
    return re.sub(r"\D", "", text)


def length(text, notation):
    parts = re.split(r"[./e]", text)
    return {"integer": len(parts[0]), "fraction": max(map(len, parts[:2])),
            "float": len(parts[-1]), "scientific": len(parts[1]) if len(parts) > 1 else 0}[notation]


BINARY = {"add": (r" \+ ", lambda a, b: a + b), "sub": (" - ", lambda a, b: a - b),
          "multiply": (r" \* ", lambda a, b: a * b), "truediv": (" / ", lambda a, b: a / b),
          "floordiv": (" // ", lambda a, b: Fraction(a // b)), "mod": (" % ", lambda a, b: a % b),
          "max": (" and ", max), "min": (" and ", min)}


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", COOKBOOK)
def test_number_cookbook(samples, name, part):
    operation, notation = name.rsplit("-", 1)
    easy, hard = operation.endswith("-easy"), operation.endswith("-hard")
    word = operation.removesuffix("-easy").removesuffix("-hard")
    result = {"truediv": "fraction", "floordiv": "integer", "mod": "integer", "length": "integer",
              "get-digit": "integer", "count": "integer", "to-float": "float",
              "to-scient": "scientific", "sig": "scientific"}.get(word, notation)
    number = NUMBER[notation]
    lengths, alike = [], 0
    lines = samples(f"nupa-{name}", part)
    for line in lines:
        prompt, answer = line["prompt"], line["answer"]
        assert prompt.startswith("Directly return the answer as") and HINT[result] in prompt
        assert answer.startswith(" ") and answer.endswith("\n")
        answer = answer.strip()
        assert re.fullmatch(NUMBER[result], answer), line
        question = re.split(r": |\. |digits of ", prompt.split(HINT[result])[1])[-1]
        if word in BINARY:
            sign, compute = BINARY[word]
            if name == "truediv-fraction":
                question = question.replace("(", "").replace(")", "")
            a, b = re.fullmatch(f"({number}){sign}({number}) =", question).groups()
            assert answer == written(compute(value(a), value(b)), result), line
            lengths.append(max(length(a, notation), length(b, notation)))
            if word == "sub":
                assert value(a) >= value(b)
            if easy:
                assert min(length(a, notation), length(b, notation)) <= 3
            if word == "mod" and not easy:
                assert len(b) <= int(.7 * len(a)) + 1
            if notation == "fraction" and word in ("max", "min"):
                assert value(a) <= 1 and value(b) <= 1
            if notation == "scientific" and word in ("add", "sub"):
                assert abs(int(a.split("e")[1]) - int(b.split("e")[1])) <= 6
            alike += a[0] == b[0]
        elif word.startswith("digit-"):
            sign = " digit add " if word == "digit-add" else " and "
            a, b = re.fullmatch(f"({number}){sign}({number}) =", question).groups()
            join = {"digit-max": max, "digit-min": min,
                    "digit-add": lambda x, y: (x + y) % 10}[word]
            assert answer == by_digit(a, b, join), line
            lengths.append(max(length(a, notation), length(b, notation)))
        else:
            infix = {"get-digit": " at position ", "count": " count the occurrence time of digit ",
                     "sig": " and keep significant figures as "}.get(word)
            a, *argument = re.fullmatch(
                f"({number}){infix}(\\d+) =" if infix else f"({number}) =", question).groups()
            expected = {"get-digit": lambda: digits(a)[int(argument[0])],
                        "count": lambda: str(digits(a).count(argument[0])),
                        "length": lambda: str(len(digits(a))),
                        "sig": lambda: figures(a, int(argument[0])),
                        "to-float": lambda: written(value(a), "float"),
                        "to-scient": lambda: written(value(a), "scientific")}[word]()
            assert answer == expected, line
            lengths.append(length(a, notation))
        assert line["length"] == lengths[-1], line
    if hard:  # a tenth of the first digits would be alike by chance
        assert alike > len(lines) / 3
    # "to-float" makes fractions anew, and products of short numbers are cut.
    if word not in ("to-float", "to-scient"):
        longest = {("train", True): 20, ("train", False): 8, ("test", True): 100,
                   ("test", False): 20}[part, name in LONG]
        assert max(lengths) <= longest + (word == "sub")
        assert max(lengths) > .8 * longest


LONG = {name for name in COOKBOOK if name.startswith(("max", "min", "digit", "get", "length",
                                                       "count", "to-scient", "sig"))}
LONG -= {"max-fraction", "min-fraction"}
LONG |= {"to-float-scientific"}


def test_the_bare_form_is_the_question_alone(samples):
    bare, whole = samples("nupa-add-float-bare", "test"), samples("nupa-add-float", "test")
    assert re.fullmatch(r"\d+\.\d+ \+ \d+\.\d+ =", bare[0]["prompt"])
    assert {line["prompt"].count("Add two numbers") for line in whole} == {1}


def truncated(number):
    text = str(number.quantize(Decimal("0.0001"), rounding=ROUND_FLOOR)).rstrip("0")
    return text + "0" if text.endswith(".") else text


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", ["sin", "sqrt"])
def test_functions(samples, name, part):
    for line in samples(f"{name}-plain", part):
        x = re.fullmatch(name + r"\((-?\d\.\d+)\)=", line["prompt"]).group(1)
        if name == "sin":
            assert abs(float(x)) <= math.pi / 2 + 1e-4
            expected = truncated(Decimal(math.sin(float(x))))
        else:
            assert 1 <= float(x) < 10
            expected = truncated(Decimal(x).sqrt())
        assert line["answer"] == expected + "\n", line
    worst = 0
    for line in samples(f"{name}-detailed", part):
        x = re.fullmatch(rf"Input:\n{name}\((-?\d\.\d+)\)\nTarget:\n", line["prompt"]).group(1)
        scratch, result, rest = re.fullmatch(r"<scratch>\n(.*) , END\n</scratch>\n(.*)(\n)",
                                             line["answer"], re.DOTALL).groups()
        steps = scratch.split("\n")
        assert len(steps) == 5
        known = steps[0].removeprefix("x_0=")
        assert known == (x if name == "sin" else str(math.isqrt(int(float(x)))))
        for i, step in enumerate(steps[1:], 1):
            given = step.rsplit(f"x_{i}=", 1)[1]
            if name == "sin":
                k, sign = 2 * i + 1, -1 if i % 2 else 1
                term = Fraction(x)**k / math.factorial(k)
                exact = Fraction(known) + sign * term
                assert step == f"x_{i}: x_{i - 1} {'+-'[i % 2]} 1/{k}! * (x^{k}) , x_{i}={given}"
            else:
                exact = (Fraction(known) + Fraction(x) / Fraction(known)) / 2
                assert step == f"x_{i}: 1/2*({known}+{x}/{known})={given}, x_{i}={given}"
            assert Fraction(given) == Fraction(math.floor(exact * 10000), 10000), line
            known = given
        assert result == known
        true = math.sin(float(x)) if name == "sin" else math.sqrt(float(x))
        worst = max(worst, abs(float(result) - true))
    assert worst < 6e-4  # what the paper's authors find


def equations_of(text):
    """Rows of coefficients and constant, modulo 11."""
    rows = []
    for equation in text.split(","):
        left, right = equation.split("=")
        row = dict(re.fullmatch(r"(\d*)([a-e])", term).group(2, 1) for term in left.split("+"))
        assert len(row) == left.count("+") + 1
        rows.append(({name: int(factor or 1) for name, factor in row.items()}, int(right)))
    return rows


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("variables", [3, 4, 5])
def test_equations(samples, variables, part):
    names = "abcde"[:variables]
    for steps in ("", "-steps"):
        for line in samples(f"equations-{variables}{steps}", part, 60):
            system = equations_of(line["prompt"].removesuffix(";"))
            assert len(system) == variables and all(set(row) == set(names) for row, _ in system)
            states = line["answer"].removesuffix("\n").split(";")
            assert len(states) == (variables if steps else 1)
            last = equations_of(states[-1])
            assert [row for row, _ in last] == [{name: 1} for name in names]
            solution = {name: right for name, (_, right) in zip(names, last)}
            assert all(0 <= number < 11 for number in solution.values())
            for done, state in enumerate([line["prompt"].removesuffix(";"), *states]):
                for row, right in equations_of(state):
                    left = sum(factor * solution[name] for name, factor in row.items())
                    assert left % 11 == right, line
                # Eliminated variables stand in their own equation alone.
                for name in names[:done] if steps else []:
                    assert sum(name in row for row, _ in equations_of(state)) == 1, state
            assert line["length"] == variables


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("digits_most", [5, 15])
@pytest.mark.parametrize("form", ["", "-padded", "-padded-reverse"])
def test_positional_multiplication(samples, digits_most, form, part):
    lengths = []
    for line in samples(f"positional-multiply-{digits_most}{form}", part):
        a, b = re.fullmatch(r"((?:\d )+)\* ((?:\d )+)=", line["prompt"]).groups()
        assert re.fullmatch(r"( \d)+\n", line["answer"])
        a, b, product = (re.sub(r"\s", "", text) for text in (a, b, line["answer"]))
        if form:
            assert len(a) == len(b) == digits_most and len(product) == 2 * digits_most
        else:
            assert a == str(int(a)) and product == str(int(product))
        assert int(product[::-1] if "reverse" in form else product) == int(a) * int(b)
        lengths.append(max(len(str(int(a))), len(str(int(b)))))
        assert line["length"] == lengths[-1]
    assert max(lengths) == digits_most and min(lengths) <= 2


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("spaces", [False, True])
def test_positional_addition(samples, spaces, part):
    wide = 0
    lengths = set()
    for line in samples("positional-add" + "-spaces" * spaces, part):
        a, b = re.fullmatch(r"(\d(?: +\d)*) \+ (\d(?: +\d)*) =", line["prompt"]).groups()
        assert re.fullmatch(r"( \d)+\n", line["answer"])
        wide += "  " in line["prompt"]
        a, b, total = (re.sub(r"\s", "", text) for text in (a, b, line["answer"]))
        assert int(a) + int(b) == int(total)
        lengths.add(len(a))
    assert (wide > 100) == spaces and (wide == 0) != spaces
    assert max(lengths) == (10 if part == "train" else 12)


def test_samples_are_asked_for_in_one_sentence(napier, shared):
    for arguments, words in [(("--samples", "test"), "name the task"),
                             (("--samples", "test", "--task", "piqa=x"), "no samples to print"),
                             (("--samples", "test", "--task", "arithmetic/nupa-ad-float"),
                              "nupa-add-float")]:
        done = napier("tasks", *arguments)
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1
