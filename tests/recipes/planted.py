"""Copies of a model with outliers planted in: channels of what a norm gives are scaled up, and the
weights that read them down by the same factor, so that in f32 the model stays what it was."""
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
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        value = field.contents()
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_key_value(field.name, value, kind, sub_type=field.types[-1])
        else:
            writer.add_key_value(field.name, value, kind)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
