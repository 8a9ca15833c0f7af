"""A llama-like transformer in PyTorch, written from the papers, for models of GGUF files."""
import gguf
import numpy as np
import torch
import torch.nn.functional as F


class Llama:
    """Weights as leaves of autograd, in the file's order; logits of batches of tokens."""

    def __init__(self, path, dtype=torch.float64):
        reader = gguf.GGUFReader(path)
        arch = reader.fields["general.architecture"].contents()

        def field(name, fallback=None):
            entry = reader.fields.get(f"{arch}.{name}")
            return fallback if entry is None else entry.contents()

        self.arch = arch
        self.layers, self.heads = field("block_count"), field("attention.head_count")
        self.kv_heads = field("attention.head_count_kv")
        self.epsilon = field("attention.layer_norm_epsilon" if arch == "mpt"
                             else "attention.layer_norm_rms_epsilon")
        self.base = field("rope.freq_base")
        self.turns = arch != "mpt" and field("rope.scaling.type", "none") == "none"
        self.weights = {t.name: torch.tensor(np.array(t.data), dtype=dtype, requires_grad=True)
                        for t in reader.tensors}

    def norm(self, x, name):
        if self.arch == "mpt":
            return F.layer_norm(x, x.shape[-1:], self.weights[name], eps=self.epsilon)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weights[name]

    def rope(self, x):
        """Turns neighbouring pairs of each head (RoFormer, Eq. 34). x: [..., length, width]."""
        length, width = x.shape[-2:]
        angles = torch.arange(length)[:, None] * self.base ** (-torch.arange(0, width, 2) / width)
        cos, sin = angles.cos().to(x), angles.sin().to(x)
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)

    def logits(self, tokens):
        """tokens: [batch, length] of integers."""
        w = self.weights
        x = w["token_embd.weight"][tokens]
        batch, length, width = x.shape
        if "position_embd.weight" in w:
            x = x + w["position_embd.weight"][:length]
        hidden = torch.full((length, length), -torch.inf).triu(1).to(x)
        for i in range(self.layers):
            def weight(role):
                return w[f"blk.{i}.{role}.weight"]

            def heads(y, count):
                return y.view(batch, length, count, width // self.heads).transpose(1, 2)

            h = self.norm(x, f"blk.{i}.attn_norm.weight")
            if self.arch == "mpt":
                keys = self.kv_heads * width // self.heads
                q, k, v = (h @ weight("attn_qkv").T).split([width, keys, keys], -1)
            else:
                q, k, v = (h @ weight(f"attn_{role}").T for role in "qkv")
            q, k, v = heads(q, self.heads), heads(k, self.kv_heads), heads(v, self.kv_heads)
            if self.turns:
                q, k = self.rope(q), self.rope(k)
            k = k.repeat_interleave(self.heads // self.kv_heads, 1)
            v = v.repeat_interleave(self.heads // self.kv_heads, 1)
            p = torch.softmax(q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5 + hidden, -1)
            x = x + (p @ v).transpose(1, 2).reshape(batch, length, width) @ weight("attn_output").T
            h = self.norm(x, f"blk.{i}.ffn_norm.weight")
            up = h @ weight("ffn_up").T
            if self.arch == "llama":
                up = F.silu(h @ weight("ffn_gate").T) * up
            else:
                up = F.gelu(up, approximate="tanh") if self.arch == "mpt" else F.relu(up).square()
            x = x + up @ weight("ffn_down").T
        x = self.norm(x, "output_norm.weight")
        return x @ w.get("output.weight", w["token_embd.weight"]).T

    def loss(self, tokens, targets):
        logits = self.logits(tokens)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
