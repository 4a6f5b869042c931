"""Runs with the Python of a vLLM installation, never with the project's: asks its real parser.

inside.py dump FILE        every argument and variable, as JSON
inside.py try FILE         for each command line of a JSON list on stdin: null, or what was said
inside.py model DIRECTORY  a random Llama of two layers with a tokenizer
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from pathlib import Path
from typing import Any

LAYERS, WIDTH = 2, 256  # of the model, with heads of 64: the smallest that the CPU kernels take


def serve_parser() -> tuple[Any, Any]:
    """A parser like that of `vllm`, and that of `vllm serve` in it, as its subcommand makes it."""
    try:
        module: Any = importlib.import_module("vllm.entrypoints.launchers.cli_args")
    except ModuleNotFoundError:  # before 0.29
        module = importlib.import_module("vllm.entrypoints.openai.cli_args")
    parser = module.FlexibleArgumentParser(prog="vllm")
    serve = parser.add_subparsers(dest="subparser").add_parser("serve")
    return parser, module.make_arg_parser(serve)


def dump(target: Path) -> None:
    _, serve = serve_parser()
    actions = [
        {
            "names": list(action.option_strings),
            "nargs": action.nargs,
            "choices": [str(c) for c in action.choices] if action.choices else None,
        }
        for action in serve._actions
    ]
    envs: Any = importlib.import_module("vllm.envs")
    names = sorted(envs.environment_variables)
    target.write_text(json.dumps({"arguments": actions, "environment": names}), encoding="utf-8")


def attempt(target: Path) -> None:
    parser, _ = serve_parser()
    answers: list[str | None] = []
    for words in json.load(sys.stdin):
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                parser.parse_args(["serve", *words])
            answers.append(None)
        except SystemExit:
            answers.append(said.getvalue().strip().splitlines()[-1])
        except Exception as error:
            answers.append(f"{type(error).__name__}: {error}")
    target.write_text(json.dumps(answers), encoding="utf-8")


def model(directory: Path) -> None:
    """Written without torch, whose import alone takes longer."""
    tokenizers: Any = importlib.import_module("tokenizers")
    numpy: Any = importlib.import_module("numpy")
    safetensors: Any = importlib.import_module("safetensors.numpy")
    words = ["<|end|>", *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())]
    plain = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[])
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = tokenizers.decoders.ByteLevel()
    plain.save(str(directory / "tokenizer.json"))
    settings = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "vocab_size": len(words), "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 4,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    named = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": words[0]}
    for name, content in (("config.json", settings), ("tokenizer_config.json", named)):
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    random = numpy.random.default_rng(20240711)

    def weights(*shape: int) -> Any:
        return random.normal(0, 0.02, shape).astype("float32")

    tensors = {"model.embed_tokens.weight": weights(len(words), WIDTH)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        for part in "qkvo":
            tensors[f"{place}.self_attn.{part}_proj.weight"] = weights(WIDTH, WIDTH)
        for part in ("gate", "up"):
            tensors[f"{place}.mlp.{part}_proj.weight"] = weights(2 * WIDTH, WIDTH)
        tensors[f"{place}.mlp.down_proj.weight"] = weights(WIDTH, 2 * WIDTH)
        for part in ("input", "post_attention"):
            tensors[f"{place}.{part}_layernorm.weight"] = numpy.ones(WIDTH, "float32")
    tensors["model.norm.weight"] = numpy.ones(WIDTH, "float32")
    tensors["lm_head.weight"] = weights(len(words), WIDTH)
    safetensors.save_file(tensors, directory / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    {"dump": dump, "try": attempt, "model": model}[sys.argv[1]](Path(sys.argv[2]))
