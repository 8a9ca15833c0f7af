"""What the documentation shows is what happens: docs/python.md and the docstrings."""
import doctest
import importlib.util
import os
import re
from pathlib import Path

import napier
import numpy as np
import pytest
from conftest import ROOT

GUIDE = ROOT / "docs" / "python.md"
MODULES = ["napier", "napier.format", "napier.products", "napier.results", "napier.studies",
           "napier.model"]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    done = doctest.testmod(module, extraglobs={"napier": napier, "np": np})
    assert done.failed == 0
    if name in ("napier", "napier.format", "napier.products", "napier.studies"):
        assert done.attempted


def test_the_guide(shared, tmp_path):
    """Blocks of python in order, in one namespace; their `>>>` lines are held against the output.
    A heading that names a package is skipped with its section where that is absent."""
    needed = {"PyTorch": ["torch", "transformers"], "lm-evaluation-harness": ["lm_eval"],
              "Figures": ["pandas", "matplotlib"]}
    text = GUIDE.read_text()
    model = shared("data/models/stories260K.gguf")
    before = Path.cwd()
    os.chdir(tmp_path)
    os.symlink(model, "model.gguf")
    os.environ["MPLBACKEND"] = "Agg"
    try:
        names, ran, wrong = {}, 0, []
        for section in re.split(r"^## ", text, flags=re.MULTILINE):
            title = section.splitlines()[0]
            wanted = [p for key, packages in needed.items() if key in title for p in packages]
            absent = [p for p in wanted if importlib.util.find_spec(p) is None]
            if absent:
                print(f"SKIPPED: {title}: needs {', '.join(absent)}")
                continue
            for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
                test = doctest.DocTestParser().get_doctest(block, names, title, str(GUIDE), 0)
                assert test.examples, f"{title}: a block without >>>"
                runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE
                                               | doctest.ELLIPSIS)
                runner.run(test, out=wrong.append, clear_globs=False)
                names = test.globs
                ran += runner.tries
        assert not wrong, "".join(wrong)
        assert ran > 20
    finally:
        os.chdir(before)
