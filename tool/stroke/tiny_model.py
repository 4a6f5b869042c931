"""Make a random language model that is small enough to serve anywhere, byte for byte the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stroke.errors import StrokeError
from stroke.paths import built_whole, cache_home, locked

NAME = "tiny"
_SEED = 20240711
_RECIPE = "1"  # raise when the bytes change: it names the cached file

_LAYERS = 2
_WIDTH = 64
_HEADS = 4
_FEED_FORWARD = 128
_CONTEXT = 2048

_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


@dataclass(frozen=True, slots=True)
class TinyModel:
    """The finished file and its checksum."""

    path: Path
    sha256: str


def tiny_model() -> TinyModel:
    """The model from the cache, made there first where it is missing."""
    target = cache_home() / "models" / f"{NAME}-{_RECIPE}"
    with locked(target.with_suffix(".lock")):
        path = target / f"{NAME}.gguf"
        if not path.is_file():
            with built_whole(target) as scratch:
                write_model(scratch / path.name)
    return TinyModel(path, hashlib.sha256(path.read_bytes()).hexdigest())


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(0x100, 0x200))
    return [chr(byte if byte in plain else next(stand_ins)) for byte in range(256)]


def _tokens() -> tuple[list[str], list[str]]:
    # llama.cpp refuses a vocabulary without merges, so a few frequent pairs are words.
    alphabet = byte_alphabet()
    space = alphabet[0x20]
    pairs = [
        *(("t", "h"), ("th", "e"), ("i", "n"), ("e", "r"), ("a", "n")),
        *((space, "t"), (space, "a")),
    ]
    words = [left + right for left, right in pairs]
    return [*alphabet, *words, *_SPECIAL], [f"{left} {right}" for left, right in pairs]


def write_model(path: Path) -> None:
    """Write the model; the same seed gives the same bytes on every machine."""
    try:
        import gguf
        import numpy
    except ImportError as error:
        raise StrokeError(
            f"the sandbox's model is made with the Python package {error.name}, not installed",
            code="STK-701",
            hint="pip install 'stroke[sandbox]'",
        ) from None
    tokens, merges = _tokens()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("stroke sandbox tiny random model")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    control = [gguf.TokenType.CONTROL] * len(_SPECIAL)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - len(_SPECIAL)) + control)
    writer.add_token_merges(merges)
    end = tokens.index("<|end|>")
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_TEMPLATE)
    # Uniform from the raw generator: numpy promises these numbers across versions.
    generator = numpy.random.Generator(numpy.random.PCG64(_SEED))
    for name, shape in _tensors(len(tokens)):
        if len(shape) == 1:
            values = numpy.ones(shape, dtype=numpy.float32)
        else:
            raw = generator.integers(-(2**23), 2**23, size=shape, dtype=numpy.int64)
            values = (raw.astype(numpy.float32) / numpy.float32(2**26)).astype(numpy.float32)
        if name == "output.weight":
            # Only printable text is likely: broken UTF-8 and an early end would be noise in tests.
            values *= numpy.float32(8)
            values[[index for index in range(len(tokens)) if not _printable(index)]] = 0
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _printable(token: int) -> bool:
    return 0x20 <= token < 0x7F or 0x100 <= token < 0x107


def _tensors(vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (vocabulary, _WIDTH)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (_WIDTH,)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"{block}.{part}.weight", (_WIDTH, _WIDTH)
        yield f"{block}.ffn_norm.weight", (_WIDTH,)
        yield f"{block}.ffn_gate.weight", (_FEED_FORWARD, _WIDTH)
        yield f"{block}.ffn_up.weight", (_FEED_FORWARD, _WIDTH)
        yield f"{block}.ffn_down.weight", (_WIDTH, _FEED_FORWARD)
    yield "output_norm.weight", (_WIDTH,)
    yield "output.weight", (vocabulary, _WIDTH)
