"""Writes a model of random bf16 weights in the shape of a known one, for measurements of speed.

    build/venv/bin/python bench/make_model.py llama-3.2-1b /tmp/random-1b.gguf
"""
import argparse
import os

import gguf
import numpy as np

# layers, width, feed-forward width, heads, heads of K and V, vocabulary
SHAPES = {
    "llama-3.2-1b": (16, 2048, 8192, 32, 8, 128256),
    "stories110m": (12, 768, 2048, 12, 12, 32000),
}


def bf16(random, *shape):
    """Normal numbers of standard deviation 0.02, cut to bf16: rows of bytes, as gguf wants them."""
    values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(shape[0], -1)


def write(shape, path):
    layers, width, hidden, heads, kv_heads, vocabulary = SHAPES[shape]
    random = np.random.default_rng(1614)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"random weights, shape of {shape}")
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("llama")
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    tokens += [f"t{i}" for i in range(len(tokens), vocabulary)]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (vocabulary - 259)
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def matrix(name, rows, columns):
        writer.add_tensor(name, bf16(random, rows, columns),
                          raw_dtype=gguf.GGMLQuantizationType.BF16)

    def ones(name):
        writer.add_tensor(name, np.ones(width, dtype=np.float32))

    kv = width // heads * kv_heads
    matrix("token_embd.weight", vocabulary, width)
    ones("output_norm.weight")
    for layer in range(layers):
        block = f"blk.{layer}"
        ones(f"{block}.attn_norm.weight")
        ones(f"{block}.ffn_norm.weight")
        matrix(f"{block}.attn_q.weight", width, width)
        matrix(f"{block}.attn_k.weight", kv, width)
        matrix(f"{block}.attn_v.weight", kv, width)
        matrix(f"{block}.attn_output.weight", width, width)
        matrix(f"{block}.ffn_gate.weight", hidden, width)
        matrix(f"{block}.ffn_up.weight", hidden, width)
        matrix(f"{block}.ffn_down.weight", width, hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("output")
    arguments = parser.parse_args()
    partial = f"{arguments.output}.partial"
    write(arguments.shape, partial)
    os.replace(partial, arguments.output)


if __name__ == "__main__":
    main()
