"""Makes `lm_eval --model napier` work: lm_eval knows no plug-ins, so the name is registered once
lm_eval.models is imported. Loaded when Python starts, by napier_lm_eval.pth; it imports nothing
until then."""

import sys


class _Finder:
    """Lets the import of lm_eval.models take its course, and registers the name after it."""

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != "lm_eval.models":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module):  # type: ignore[no-untyped-def]
            execute(module)
            from lm_eval.api.registry import model_registry

            model_registry.register("napier", target="napier.lm_eval:NapierLM")

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())  # type: ignore[arg-type]
