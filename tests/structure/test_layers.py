"""Dependencies between the folders of src/ point down the list of DESIGN.md only."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the top down: a layer may include its own headers and those of the layers after it.
LAYERS = ["cli", "report", "train", "recipes", "eval", "analysis", "cost", "hw", "model", "ggml",
          "kernels", "numerics"]

# The headers of include/napier that are of kernels; all others are of numerics.
KERNELS_PUBLIC = {"gemm.hpp", "thread_pool.hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
SOURCES = {".hpp", ".cpp", ".h", ".cc", ".cu", ".cuh", ".inc"}
# The C++ standard library's headers, and C's as C++ spells them, have no dot or slash.
STANDARD = re.compile(r"[a-z0-9_]+")


def owner_of_public(name):
    """The layer that a header of include/napier belongs to."""
    return "kernels" if name in KERNELS_PUBLIC else "numerics"


def layer_of(root, path):
    """The layer a source file belongs to, or None for one that is in no layer."""
    parts = path.relative_to(root).parts
    if parts[:2] == ("include", "napier"):
        return owner_of_public(parts[-1])
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def target_of(root, path, name):
    """The layer that `#include name` in `path` leads to, or None when that is not our own."""
    if name.startswith("napier/"):
        return owner_of_public(name.split("/")[-1])
    if (path.parent / name).exists():
        return layer_of(root, (path.parent / name).resolve())
    first = name.split("/")[0]
    return first if "/" in name and first in LAYERS and (root / "src" / name).exists() else None


def violations(root):
    """A sentence for each include that points up, sideways out of the list, or out of numerics."""
    found = []
    for path in sorted([*root.glob("src/**/*"), *root.glob("include/napier/**/*")]):
        if path.suffix not in SOURCES or not path.is_file():
            continue
        where = path.relative_to(root)
        layer = layer_of(root, path)
        if layer not in LAYERS:
            found.append(f"{where}: is in no layer of the list {LAYERS}")
            continue
        text = path.read_text(encoding="utf-8")
        for match in INCLUDE.finditer(text):
            name = match[2]
            line = text.count("\n", 0, match.start(1)) + 1
            target = target_of(root, path, name)
            if target is None:
                if layer == "numerics" and not STANDARD.fullmatch(name):
                    found.append(f"{where}:{line}: numerics includes {name}, which is neither "
                                 "the standard library's nor its own")
            elif target not in LAYERS or LAYERS.index(target) < LAYERS.index(layer):
                found.append(f"{where}:{line}: {layer} includes {name} of {target}, which is "
                             "above it")
    return found


def test_dependencies_point_down():
    assert list((ROOT / "include/napier").glob("*.hpp")), "the sources are not where they should be"
    found = violations(ROOT)
    assert not found, "\n".join(found)


def plant(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


SOUND = {
    "include/napier/format.hpp": "#include <cstdint>\n#include \"napier/rounding.hpp\"\n",
    "include/napier/rounding.hpp": "",
    "include/napier/gemm.hpp": "#include \"napier/format.hpp\"\n",
    "src/numerics/format.cpp": "#include \"napier/format.hpp\"\n",
    "src/kernels/gemm.cpp": "#include <hwy/highway.h>\n#include \"napier/gemm.hpp\"\n",
    "src/kernels/pack.hpp": "",
    "src/ggml/backend.cpp": "#include <ggml.h>\n#include \"kernels/pack.hpp\"\n",
    "src/cli/main.cpp": "#include \"CLI/CLI.hpp\"\n#include \"napier/gemm.hpp\"\n",
}


def test_a_sound_tree_passes(tmp_path):
    plant(tmp_path, SOUND)
    assert violations(tmp_path) == []


@pytest.mark.parametrize("name, text, word", [
    ("src/kernels/bad.cpp", "#include \"ggml/backend.hpp\"\n", "above"),
    ("src/kernels/bad.cpp", "#include \"../ggml/backend.hpp\"\n", "above"),
    ("src/kernels/bad.cpp", "  #  include <ggml/backend.hpp>\n", "above"),
    ("src/numerics/bad.cpp", "#include \"kernels/pack.hpp\"\n", "above"),
    ("src/numerics/bad.cpp", "#include \"napier/gemm.hpp\"\n", "above"),
    ("include/napier/bad.hpp", "#include \"napier/gemm.hpp\"\n", "above"),
    ("src/numerics/bad.cpp", "#include <hwy/highway.h>\n", "neither"),
    ("src/numerics/bad.cpp", "#include <unistd.h>\n", "neither"),
    ("src/numerics/bad.cpp", "#include \"fmt/format.h\"\n", "neither"),
    ("src/model/bad.hpp", "#include \"cli/table.hpp\"\n", "above"),
    ("src/helpers/bad.hpp", "", "no layer"),
    ("src/bad.hpp", "", "no layer"),
])
def test_a_violation_is_found(tmp_path, name, text, word):
    plant(tmp_path, SOUND | {"src/ggml/backend.hpp": "", "src/cli/table.hpp": "", name: text})
    found = violations(tmp_path)
    assert len(found) == 1 and found[0].startswith(name) and word in found[0]
