"""The random model is the same everywhere, and whole enough for an engine to serve it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from stroke.tiny_model import byte_alphabet, tiny_model, write_model

gguf = pytest.importorskip("gguf")
numpy = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_model(path)
    return path


def test_the_same_bytes_each_time(model: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == model.read_bytes()
    assert model.stat().st_size < 600_000


def test_the_weights_are_those_of_the_seed(model: Path) -> None:
    weights = {tensor.name: tensor.data for tensor in gguf.GGUFReader(model).tensors}
    digest = hashlib.sha256(weights["blk.1.ffn_down.weight"].tobytes()).hexdigest()
    assert digest[:16] == "4d209bf1383de844"


def test_the_vocabulary_covers_every_byte(model: Path) -> None:
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert alphabet[ord("A")] == "A"
    assert alphabet[ord(" ")] == "Ġ"
    fields = gguf.GGUFReader(model).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert tokens[:256] == alphabet
    assert tokens[fields["tokenizer.ggml.eos_token_id"].contents()] == "<|end|>"
    for merge in fields["tokenizer.ggml.merges"].contents():
        left, right = merge.split(" ")
        assert {left, right, left + right} <= set(tokens)


def test_there_is_a_chat_template_and_all_tensors_of_the_architecture(model: Path) -> None:
    reader = gguf.GGUFReader(model)
    assert reader.fields["general.architecture"].contents() == "llama"
    assert "add_generation_prompt" in reader.fields["tokenizer.chat_template"].contents()
    layers = reader.fields["llama.block_count"].contents()
    assert len(reader.tensors) == 3 + 9 * layers


def test_only_printable_tokens_are_likely(model: Path) -> None:
    (output,) = (t.data for t in gguf.GGUFReader(model).tensors if t.name == "output.weight")
    likely = {int(row) for row in numpy.flatnonzero(numpy.abs(output).sum(axis=1))}
    assert likely == {*range(0x20, 0x7F), *range(256, 263)}


def test_the_cache_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = tiny_model()
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    made.path.write_bytes(b"cached")
    assert tiny_model().sha256 == hashlib.sha256(b"cached").hexdigest()
