"""What an addition touches: a list of values, a preset or a named format is one entry of one file,
a multiplier a file of its own and a line where multipliers are listed."""
import re
from pathlib import Path

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
                     and path not in others and path.parent.name != "multipliers"]
        assert not elsewhere, f"{name} of {file} is named in {elsewhere} too"


def test_a_multiplier_is_a_file_and_its_lines():
    names = entries("multiplier.cpp", r"&k_(\w+)_multiplier,")
    assert "table" in names
    for name in names:
        own = NUMERICS / "multipliers" / f"{name}.cpp"
        listed = {NUMERICS / "multiplier.cpp", NUMERICS / "multipliers" / "families.hpp"}
        found = set(files_with(f"k_{name}_multiplier"))
        assert own in found and found <= listed | {own}, (name, found)
