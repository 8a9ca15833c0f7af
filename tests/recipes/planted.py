"""Copies of a model with outliers planted in: channels of what a norm gives are scaled up, and the
weights that read them down by the same factor, so that in f32 the model stays what it was. And
mixtures of experts made of a model."""
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


def rewrite(reader, target, tensors, more={}, architecture="llama"):
    """The model with these tensors, and further numbers (or lists of truths) about it, as one of
    another architecture."""
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        value = field.contents()
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
