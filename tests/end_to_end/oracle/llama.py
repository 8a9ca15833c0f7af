"""A forward pass of llama models in NumPy. Every matrix product goes through one function.

Activations are f32 between operations; inside an operation f64 is used, except for RoPE's angles,
which are f32 products as in llama.cpp (their error would be seen otherwise).
"""
import gguf
import numpy as np

from .lmul import exact_matmul


def plain(name, x, w):
    """The product of the unaltered model."""
    return exact_matmul(x, w)


class Llama:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)

        def field(name, fallback=None):
            entry = reader.fields.get(name)
            return fallback if entry is None else entry.contents()

        assert field("general.architecture") == "llama"
        self.tensors = {}
        for tensor in reader.tensors:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32, tensor.name
            self.tensors[tensor.name] = np.array(tensor.data)
        self.layers = field("llama.block_count")
        self.heads = field("llama.attention.head_count")
        self.kv_heads = field("llama.attention.head_count_kv", self.heads)
        self.epsilon = field("llama.attention.layer_norm_rms_epsilon")
        self.rope_base = field("llama.rope.freq_base", 10000.0)
        width = self.tensors["token_embd.weight"].shape[1]
        self.rope_dimensions = field("llama.rope.dimension_count", width // self.heads)
        self.bos = field("tokenizer.ggml.bos_token_id")

    def norm(self, x, weight):
        x = x.astype(np.float64)
        scale = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return ((x * scale).astype(np.float32) * self.tensors[weight]).astype(np.float32)

    def rope(self, x):
        """Rotates the pairs (2i, 2i+1) of x[head, position, :] by position * base^(-2i/d)."""
        d = self.rope_dimensions
        step = np.float32(self.rope_base ** (-2 / d))
        angle = np.arange(x.shape[1], dtype=np.float32)
        angles = []
        for _ in range(d // 2):
            angles.append(angle)
            angle = angle * step
        angles = np.stack(angles, axis=-1).astype(np.float64)
        cos, sin = np.cos(angles), np.sin(angles)
        even, odd = x[..., 0:d:2].astype(np.float64), x[..., 1:d:2].astype(np.float64)
        out = x.copy()
        out[..., 0:d:2] = even * cos - odd * sin
        out[..., 1:d:2] = even * sin + odd * cos
        return out

    @staticmethod
    def softmax_causal(scores, scale):
        """Rows of scores[head, query, key], keys after the query masked: exactly zero."""
        scores = scores.astype(np.float64) * scale
        length = scores.shape[-1]
        scores[:, np.triu(np.ones((length, length), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)

    def logits(self, tokens, multiply=plain, first=0):
        """Logits [position, vocabulary] from position `first` on.

        `multiply(name, x, w)` gives x w^T over the last axes; the names are ggml's: of the weight,
        or "kq-N" and "kqv-N" for the products of attention, [head, query, ...].
        """

        def linear(name, x):
            return multiply(name, x, self.tensors[name])

        def split_heads(x, count):
            return x.reshape(len(x), count, -1).swapaxes(0, 1)

        x = self.tensors["token_embd.weight"][tokens]
        group = self.heads // self.kv_heads
        for i in range(self.layers):
            block = f"blk.{i}."
            h = self.norm(x, block + "attn_norm.weight")
            q = self.rope(split_heads(linear(block + "attn_q.weight", h), self.heads))
            k = self.rope(split_heads(linear(block + "attn_k.weight", h), self.kv_heads))
            v = split_heads(linear(block + "attn_v.weight", h), self.kv_heads)
            k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
            scores = multiply(f"kq-{i}", q, k)
            weights = self.softmax_causal(scores, 1 / np.sqrt(q.shape[-1]))
            mixed = multiply(f"kqv-{i}", weights, v.swapaxes(1, 2))
            x = x + linear(block + "attn_output.weight", mixed.swapaxes(0, 1).reshape(len(x), -1))
            h = self.norm(x, block + "ffn_norm.weight")
            gate = linear(block + "ffn_gate.weight", h).astype(np.float64)
            up = linear(block + "ffn_up.weight", h)
            h = ((gate / (1 + np.exp(-gate))).astype(np.float32) * up).astype(np.float32)
            x = x + linear(block + "ffn_down.weight", h)
        x = self.norm(x[first:], "output_norm.weight")
        output = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        return linear(output, x)
