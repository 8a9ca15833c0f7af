"""GGUF models under an arithmetic as a model of lm-evaluation-harness, by the name "napier":

    lm_eval --model napier --model_args pretrained=MODEL.gguf,arith=lmul-m4 --tasks piqa

`python -m napier.lm_eval` takes the same arguments, for when napier is used without being installed
(lm_eval learns the name from what is installed beside the package).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from napier.model import Model

_Scored = tuple[tuple[str, str], list[int], list[int]]


@register_model("napier")
class NapierLM(TemplateLM):  # type: ignore[misc]
    """Texts are cut into tokens as the harness's own models do it: context and continuation
    together, after BOS where the vocabulary adds it, from the left to what fits.

    `pretrained` is a GGUF file; `arith` an arithmetic for every matrix multiplication, or `plan` a
    plan or recipe file; `max_length` the context in tokens (as trained, if not given).
    """

    def __init__(
        self,
        pretrained: str,
        arith: str | None = None,
        plan: str | None = None,
        max_length: int = 0,
        max_gen_toks: int = 256,
        threads: int | None = None,
        cache: str = "f32",
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if arith is not None and plan is not None:
            raise ValueError("arith and plan are both given: give one")
        # The harness names a GPU if not told otherwise, and batches for speed, which comes from
        # shared beginnings here.
        del device, batch_size, max_batch_size
        self.model = Model(
            str(pretrained), str(arith or plan or "f32"), context=int(max_length),
            threads=None if threads is None else int(threads), cache=cache,
        )  # fmt: skip
        self.max_gen_toks = int(max_gen_toks)

    @property
    def max_length(self) -> int:
        return self.model.context

    @property
    def eot_token_id(self) -> int:
        token = self.model.eos if self.model.eos is not None else self.model.bos
        if token is None:
            raise ValueError(f"{self.model.path}: its vocabulary has neither EOS nor BOS")
        return token

    @property
    def prefix_token_id(self) -> int:
        return self.model.bos if self.model.bos is not None else self.eot_token_id

    @property
    def tokenizer_name(self) -> str:
        return self.model.path

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        tokens = self.model.tokenise(string, add_special=False)
        if add_special_tokens is None:
            add_special_tokens = self.model.adds_bos
        if add_special_tokens and self.model.bos is not None:
            tokens.insert(0, self.model.bos)
        return tokens

    def _loglikelihood_tokens(
        self, requests: Sequence[_Scored], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        # In this order what follows each other begins alike, and is computed once.
        order = sorted(range(len(requests)), key=lambda i: requests[i][1] + requests[i][2])
        for i in tqdm(order, disable=disable_tqdm, desc="napier: likelihoods"):
            strings, context, continuation = requests[i]
            if not continuation or len(continuation) > self.max_length:
                raise ValueError(
                    f"the continuation {strings[1][:60]!r} has {len(continuation)} tokens: 1 to "
                    f"{self.max_length} can be scored"
                )
            tokens = (context + continuation)[-(self.max_length + 1) :]
            log_likelihoods, likeliest = self.model.score(tokens, last=len(continuation))
            results[i] = (float(log_likelihoods.sum()), bool(likeliest.all()))
            if strings != ("", ""):
                self.cache_hook.add_partial("loglikelihood", strings, results[i])
        return results

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        results = []
        for request in requests:
            (text,) = request.args
            windows = map(
                make_disjoint_window,
                get_rolling_token_windows(
                    token_list=self.tok_encode(text, add_special_tokens=False),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                ),
            )
            scored = [(("", ""), list(given), list(then)) for given, then in windows]
            results.append(sum(s for s, _ in self._loglikelihood_tokens(scored, disable_tqdm)))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), results[-1])
        return results

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        results = []
        for number, request in enumerate(
            tqdm(requests, disable=disable_tqdm, desc="napier: texts")
        ):
            context, asked = request.args
            beams = asked.get("num_beams", 1)
            if beams != 1:
                raise ValueError(f"num_beams is {beams}: napier writes one text at a time")
            options: dict[str, Any] = dict(
                normalize_gen_kwargs(asked, default_max_gen_toks=self.max_gen_toks)
            )
            count = int(options["max_gen_toks"])
            if count >= self.max_length:
                raise ValueError(
                    f"{count} tokens of answer leave no room for a prompt in a context of "
                    f"{self.max_length}: give a smaller max_gen_toks"
                )
            prompt = self.tok_encode(context)[-(self.max_length - count) :]
            text = self.model.generate(
                prompt or [self.prefix_token_id],
                count,
                temperature=float(options["temperature"]) if options["do_sample"] else 0.0,
                top_k=int(options.get("top_k", 0)),
                top_p=float(options.get("top_p", 1.0)),
                min_p=float(options.get("min_p", 0.0)),
                repeat_penalty=float(options.get("repetition_penalty", 1.0)),
                # Repeats of one request are other texts; the whole is the same in each run.
                seed=(int(options.get("seed", 1234)) + number) % (2**32 - 1),
                stop=[word for word in options["until"] if word],
            )
            results.append(text)
            self.cache_hook.add_partial("generate_until", request.args, text)
        return results


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
