"""What an addition touches: a list of values, a preset or a named format is one entry of one file,
a multiplier and an accumulator a file of its own and a line of the registry. Held against the
sources, and by adding one of each to a copy of them."""
import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
# Without comments.
SOURCES = {path: re.sub(r"//.*", "", path.read_text()) for folder in ("src", "include") for path in
           sorted((ROOT / folder).glob("**/*")) if path.suffix in {".cpp", ".hpp", ".h"}}
NUMERICS = ROOT / "src" / "numerics"


def entries(file, pattern):
    return re.findall(pattern, SOURCES[NUMERICS / file], re.MULTILINE)


def files_with(literal):
    return [path for path, text in SOURCES.items() if literal in text]


# Of each registry the pattern of an entry.
REGISTRIES = [("codebooks.cpp", r'^ +(?:\{|choice\()"([a-z0-9_]+)",'),
              ("presets.cpp", r'Preset\{"([^"]+)"'), ("formats.cpp", r'NamedFormat\{"([^"]+)"')]


FAMILIES = {"multipliers", "accumulators"}


@pytest.mark.parametrize("file, pattern", REGISTRIES)
def test_an_entry_is_all_there_is(file, pattern):
    names = entries(file, pattern)
    assert len(names) > 5
    here = NUMERICS / file
    others = {NUMERICS / name for name, _ in REGISTRIES} - {here}
    # These are words of other matters too: caches, defaults, what is not written, published prices.
    for name in set(names) - {"f32", "f16", "bf16", "int8"}:
        # Registries may name each other's entries (presets are written in formats), and multipliers
        # share a name with presets.
        elsewhere = [path for path in files_with(f'"{name}"') if path != here
                     and path not in others and path.parent.name not in FAMILIES]
        assert not elsewhere, f"{name} of {file} is named in {elsewhere} too"


@pytest.mark.parametrize("kind, known, default", [
    # The default is spelt out where a Multiplier or an Accumulator is made of nothing.
    ("multiplier", "table", ("exact", NUMERICS / "multiplier.cpp")),
    ("accumulator", "align", ("plain", ROOT / "include" / "napier" / "accumulator.hpp"))])
def test_a_multiplier_or_accumulator_is_a_file_and_a_line(kind, known, default):
    folder = NUMERICS / f"{kind}s"
    names = re.findall(rf"^NAPIER_{kind.upper()}\((\w+)\)$",
                       (folder / "registry.inc").read_text(), re.MULTILINE)
    assert known in names
    for name in names:
        own = folder / f"{name}.cpp"
        found = set(files_with(f"k_{name}_{kind}"))
        assert found == {own, default[1]} if name == default[0] else found == {own}, (name, found)


# A number format, a list, a multiplier that doubles the exact product, an accumulator that adds the
# first of each so many products, and a preset that has all.
ADDITIONS = {
    "formats.cpp": ("constexpr std::array k_formats = {",
                    'NamedFormat{"samplefloat", ieee(3, 1), "", "a sample"},'),
    "codebooks.cpp": ("Codebooks make_codebooks() {\n  return {",
                      '{"samplelist", {-3, 0, 1, 5}, "a sample"},'),
    "presets.cpp": ("constexpr std::array k_presets = {",
                    'Preset{"sample", "x=samplefloat/w=samplelist/mul=sample/acc=f32(sample=2)", '
                    '"a sample"},'),
    "multipliers/registry.inc": ("NAPIER_MULTIPLIER(table)", "NAPIER_MULTIPLIER(sample)"),
    "accumulators/registry.inc": ("NAPIER_ACCUMULATOR(align)", "NAPIER_ACCUMULATOR(sample)"),
}
MULTIPLIER = """
#include "families.hpp"

namespace napier {

const MultiplierFamily k_sample_multiplier = {
    .name = "sample",
    .summary = "twice the product",
    .parameters = {},
    .resolve = [](std::span<int>, const Operand&, const Operand&) {},
    .multiply = [](std::span<const int>, const Dyadic& x, const Dyadic& w) {
      return (x * w).scaled(1);
    },
    .form = [](std::span<const int>) { return ProductForm{}; },
    .rounds_by_default = false,
};

}  // namespace napier
"""

ACCUMULATOR = """
#include <array>
#include "families.hpp"

namespace napier {
namespace {

constexpr std::array k_parameters = {
    Parameter{.name = "sample", .min = 1, .max = 9, .summary = "a sample", .required = true}};

}  // namespace

const AccumulatorFamily k_sample_accumulator = {
    .name = "sample",
    .summary = "the first of each so many products",
    .parameters = k_parameters,
    .sum = [](const Accumulator& accumulator, std::span<const Dyadic> products, uint64_t position) {
      Dyadic sum = Dyadic::zero();
      for (size_t i = 0; i < products.size(); i += static_cast<size_t>(accumulator.settings[0])) {
        sum = accumulator.add(sum, products[i], position + i);
      }
      return sum;
    },
};

}  // namespace napier
"""


@pytest.fixture(scope="module")
def sample(build_dir, tmp_path_factory):
    """The bridge of tests/numerics over numerics to which ADDITIONS were made, each one line."""
    folder = tmp_path_factory.mktemp("sample")
    numerics = folder / "src" / "numerics"
    shutil.copytree(NUMERICS, numerics)
    for file, (after, line) in ADDITIONS.items():
        before = (numerics / file).read_text()
        assert before.count(after) == 1
        (numerics / file).write_text(before.replace(after, f"{after}\n{line}"))
    (numerics / "multipliers" / "sample.cpp").write_text(MULTIPLIER)
    (numerics / "accumulators" / "sample.cpp").write_text(ACCUMULATOR)
    changed = [path for path in sorted(numerics.glob("**/*")) if path.is_file()
               and (not (NUMERICS / path.relative_to(numerics)).exists() or path.read_text()
                    != (NUMERICS / path.relative_to(numerics)).read_text())]
    assert len(changed) == len(ADDITIONS) + 2
    # What was changed is compiled, and what the two registries are a part of; the rest is the
    # build's.
    compiled = [path for path in changed if path.suffix == ".cpp"] + [
        numerics / "multiplier.cpp", numerics / "accumulator.cpp"]
    [archive] = (path for path in build_dir.glob("**/libnapier_numerics.a"))
    library = folder / "sample.so"
    subprocess.run(
        [os.environ.get("CXX", "c++"), "-std=c++20", "-O0", "-fPIC", "-shared", "-Wall",
         f"-I{folder / 'src'}", f"-I{ROOT / 'include'}", f"-I{ROOT / 'src'}",
         str(ROOT / "tests" / "numerics" / "bridge.cpp"), *map(str, compiled), str(archive),
         "-o", str(library)], check=True, capture_output=True, text=True)
    sys.path.insert(0, str(ROOT / "tests" / "numerics"))
    import bridge
    return bridge.Bridge(library)


def test_a_sample_addition_is_five_lines_and_two_files(sample):
    """They are in every list, read and print, and compute."""
    assert "samplefloat" in sample.formats() and "samplelist" in sample.formats("listed")
    assert "sample" in sample.multipliers() and "sample" in sample.presets()
    assert list(sample.decode("samplefloat", [0b00110, 0b10001]).doubles()) == [1.0, -0.125]
    assert list(sample.decode("samplelist", sample.encode("samplelist", [-1.6, 2.9, 3.1]))
                .doubles()) == [-3, 1, 5]
    products = sample.multiply("sample", [0b00111, 0b10110], [3, 0])  # 1.5 * 5, -1 * -3
    assert list(products.doubles()) == [15.0, 6.0]
    assert sample.sum("bf16(sample=3)", [1.5, 100, 100, 2, 100]).exact(0)[0] == 3.5
    with pytest.raises(ValueError, match="expected chunk=n, align=n or sample=n"):
        sample.sum("bf16(samples=3)", [1.0])
    with pytest.raises(ValueError, match="sample must be a whole number from 1 to 9"):
        sample.sum("bf16(sample=10)", [1.0])
    with pytest.raises(ValueError, match="did you mean 'samplelist'"):
        sample.decode("samplelisd", [0])
