#!/usr/bin/env python3
"""Lets the PyPI package transformers read the config.json, generation config and tokenizer of our checkpoints.

    transformers_reads_config.py AWQ DEMO_MODEL_FOLDER

Exit code 77, which ctest reports as skipped, when the package is not installed.
"""
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
try:
    import transformers
    from transformers import AutoConfig, AutoTokenizer, AwqConfig
except ImportError as missing:
    print(f"skipped: this Python has no module `{missing.name}` (pip install transformers): {sys.executable}")
    sys.exit(77)

from checkpoints import awq_layouts, config_of

# Of a compressed-tensors scheme, and no others: loaders refuse unknown ones here.
SCHEME_KEYS = {"targets", "format", "input_activations", "output_activations", "weights"}


def check_awq(quantization, layout, group):
    parsed = AwqConfig.from_dict(quantization)
    assert parsed.quant_method.value == "awq", parsed
    assert (parsed.bits, parsed.group_size, parsed.zero_point) == (4, group, True), parsed
    assert str(getattr(parsed.format, "value", parsed.format)) == layout, parsed.format


def check_compressed_tensors(quantization, group):
    assert quantization["quant_method"] == "compressed-tensors" and quantization["quantization_status"] == "compressed"
    assert quantization["ignore"] == ["lm_head"]
    (scheme,) = quantization["config_groups"].values()
    assert set(scheme) == SCHEME_KEYS, scheme
    assert scheme["weights"]["group_size"] == group and scheme["weights"]["num_bits"] == 4


def check_modelopt(quantization, group):
    assert quantization["quant_algo"] == "W4A16_AWQ" and quantization["group_size"] == group


def check(folder, layout, group):
    config = AutoConfig.from_pretrained(folder)
    ours = config_of(folder)
    assert type(config).__name__ == "LlamaConfig" and config.intermediate_size == ours["intermediate_size"]
    assert config.quantization_config == ours["quantization_config"], config.quantization_config
    quantization = ours["quantization_config"]
    if quantization["quant_method"] == "awq":
        check_awq(quantization, layout, group)
    else:
        OTHERS[quantization["quant_method"]](quantization, group)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer("The river rose.", add_special_tokens=False)["input_ids"]) == "The river rose."


OTHERS = {"compressed-tensors": check_compressed_tensors, "modelopt": check_modelopt}


def main():
    awq, demo = sys.argv[1:]
    with tempfile.TemporaryDirectory() as root:
        folders = awq_layouts(awq, demo, Path(root), 64, True)
        for layout, folder in folders.items():
            check(folder, layout, 64)
    print(f"transformers {transformers.__version__} reads {len(folders)} layouts")


if __name__ == "__main__":
    main()
