"""Copies of a model with outliers planted in: channels of what a norm gives are scaled up, and the
weights that read them down by the same factor, so that in f32 the model stays what it was. A copy
with massive activations. And mixtures of experts made of a model."""
import re

import gguf
import numpy as np

READERS = {"attn_norm": ("attn_q", "attn_k", "attn_v"), "ffn_norm": ("ffn_gate", "ffn_up")}


def write(source, target, factors):
    """factors: {channel: factor}, in every layer. Powers of two change no bit of the f32 result."""
    reader = gguf.GGUFReader(source)
    tensors = {t.name: np.array(t.data) for t in reader.tensors}
    assert all(t.tensor_type == gguf.GGMLQuantizationType.F32 for t in reader.tensors)
    for name, data in tensors.items():
        for norm, readers in READERS.items():
            if not name.endswith(f".{norm}.weight"):
                continue
            for channel, factor in factors.items():
                data[channel] *= factor
                for other in readers:
                    tensors[name.replace(norm, other)][:, channel] /= factor
    return rewrite(reader, target, tensors)


class FirstToken:
    """The token that begins every text, alone: it attends to itself, so that what it becomes does
    not depend on the text."""

    def __init__(self, tensors, eps, groups):
        self.tensors, self.eps, self.groups = tensors, eps, groups

    def __call__(self, name):
        return self.tensors[name].astype(np.float64)

    def norm(self, stream, name):
        return stream / np.sqrt(np.mean(stream**2) + self.eps) * self(name)

    def attention(self, value, block):
        heads = value.reshape(-1, 8)  # of 8 numbers each, as there are in stories260K
        return self(f"{block}.attn_output.weight") @ np.repeat(heads, self.groups, 0).ravel()


def massive(source, target, size, channels=8, units=8):
    """stories260K with massive activations (arXiv 2402.17762): the first layer's feed-forward
    network gives the first token, and no other, `size` in one channel of the residual stream, and
    the last layer's takes it away again, as is found in LLaMA2. The channel is a new one, zero in
    every other token, so that weights reading it act on the first token alone: they are such that
    its queries, keys, values and gates are what they were. In f32 the model is what it was."""
    reader = gguf.GGUFReader(source)
    old = {t.name: np.array(t.data) for t in reader.tensors}
    width, inner = old["blk.0.ffn_gate.weight"].shape[::-1]
    wide, layers = width + channels, sum(name.endswith("ffn_norm.weight") for name in old)
    keep = np.sqrt(width / wide)  # a mean of squares over more channels is smaller by this, squared
    new = {}
    for name, data in old.items():
        rows, columns = data.shape if data.ndim == 2 else (1, len(data))
        if "ffn_" in name and data.ndim == 2:
            rows += units if "down" not in name else channels
            columns += channels if "down" not in name else units
        elif "attn_output" in name:
            rows += channels
        else:
            columns += channels
        new[name] = np.zeros((rows, columns) if data.ndim == 2 else columns, np.float32)
        new[name][tuple(slice(n) for n in data.shape)] = data * (keep if data.ndim == 1 else 1)
    first = 1  # <s>
    eps = reader.fields["llama.attention.layer_norm_rms_epsilon"].contents()
    was = FirstToken(old, eps, 2)
    now = FirstToken(new, eps * keep**2, 2)
    new["token_embd.weight"][first, width] = 1
    stream, planted = was("token_embd.weight")[first], now("token_embd.weight")[first]

    def read(norm, readers):
        """What the first token's readers gave, and the weights with which they give it again."""
        new[norm][width] = 3 * np.sqrt(np.mean(planted**2)) / planted[width]  # as others are large
        before, after = was.norm(stream, norm), now.norm(planted, norm)
        results = []
        for name in readers:
            results.append(was(name) @ before)
            rest = now(name)[:len(results[-1]), :width] @ after[:width]
            new[name][:len(results[-1]), width] = (results[-1] - rest) / after[width]
        return results, after[width]

    for layer in range(layers):
        block = f"blk.{layer}"
        (_, _, value), _ = read(f"{block}.attn_norm.weight",
                                [f"{block}.attn_{x}.weight" for x in "qkv"])
        stream = stream + was.attention(value, block)
        planted[:width] = stream
        gate, up, down = (f"{block}.ffn_{x}.weight" for x in ("gate", "up", "down"))
        (opened, carried), one = read(f"{block}.ffn_norm.weight", [gate, up])
        if layer in (0, layers - 1):
            new[gate][inner:, width] = new[up][inner:, width] = 3 / one
            hidden = 9 / (1 + np.exp(-3))
            change = size if layer == 0 else 1 - planted[width]
            new[down][width, inner:] = change / (units * hidden)
            planted[width] += change
        stream = stream + was(down) @ (opened / (1 + np.exp(-opened)) * carried)
        planted[:width] = stream
    read("output_norm.weight", ["output.weight"])
    return rewrite(reader, target, new, {"llama.attention.key_length": 8,
                                         "llama.attention.value_length": 8}, {
        "llama.embedding_length": wide, "llama.feed_forward_length": inner + units,
        "llama.attention.layer_norm_rms_epsilon": eps * keep**2})


def mixture(source, target, experts=4, used=2):
    """The model with each layer's feed-forward network there `experts` times, a little different
    each, and a random router."""
    reader = gguf.GGUFReader(source)
    random = np.random.default_rng(1614)
    tensors = {}
    for tensor in reader.tensors:
        data = np.array(tensor.data)
        block, role = tensor.name.rpartition(".ffn_")[::2]
        if role not in {"gate.weight", "up.weight", "down.weight"}:
            tensors[tensor.name] = data
            continue
        noise = 1 + 0.05 * random.standard_normal((experts, *data.shape))
        tensors[f"{block}.ffn_{role.replace('.', '_exps.')}"] = (data * noise).astype(np.float32)
        if role == "up.weight":
            router = random.standard_normal((experts, data.shape[1]))
            tensors[f"{block}.ffn_gate_inp.weight"] = router.astype(np.float32)
    return rewrite(reader, target, tensors, {"llama.expert_count": experts,
                                             "llama.expert_used_count": used})


def rewrite(reader, target, tensors, more={}, changed={}, architecture="llama"):
    """The model with these tensors, and further and other numbers (or lists of truths) about it, as
    one of another architecture."""
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        value = changed.get(field.name, field.contents())
        name = re.sub("^llama", architecture, field.name)
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(name, value, kind, sub_type=field.types[-1])
        else:
            writer.add_key_value(name, value, kind)
    for name, value in more.items():
        writer.add_array(name, value) if isinstance(value, list) else writer.add_uint32(name, value)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
