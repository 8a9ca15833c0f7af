"""PyTorch under any arithmetic: models patched in one line, or single products.

import napier.torch
with napier.torch.patch(model, "lmul-m4"):
    logits = model(tokens)
"""

from napier.torch.patching import Patch, patch, unpatch
from napier.torch.products import Gradients, linear, matmul

__all__ = ["Gradients", "Patch", "linear", "matmul", "patch", "unpatch"]
