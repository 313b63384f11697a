#!/usr/bin/env python3
"""Lets the loaders that need PyTorch read our checkpoints, on the CPU. Too large for the gate (6 GB of packages), so it is
run by hand; docs/loading.md has the result.

    python3 -m venv V && V/bin/pip install torch transformers compressed-tensors gptqmodel nvidia-modelopt
    V/bin/python tools/interop_torch.py build/awq build/tests/interop/dequantize_driver models/demo

Checks, for groups of 64 and 128, with and without zero points:
  compressed-tensors  its decompressor gives our weights; its converter from AutoAWQ's layout gives our tensors;
                      awq reads what it writes
  GPTQModel           its dequantization of gemm gives our weights; its packers give our gemv and gemv_fast tensors
  Model Optimizer     its packer gives our modelopt tensors; its own export has the same tensors, shapes and settings file
  transformers        loads each checkpoint that runs without a GPU, and continues a prompt as awq does
"""
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", CUDA_VISIBLE_DEVICES="")
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "interop"))
from checkpoints import awq_layouts, config_of, linears_of, run, tensors_of, weights_of  # noqa: E402
from layouts import LAYOUTS  # noqa: E402

CASES = [(64, False), (128, False), (64, True), (128, True)]  # group, symmetric
PROMPT, NEW_TOKENS = "It was a dark and stormy night", 40


def torched(tensors):
    return {suffix: torch.from_numpy(np.ascontiguousarray(t)) for suffix, t in tensors.items()}


def same(got, want, what):
    """Bit for bit; our weights are rounded to the dtype that the other side computes in."""
    got = got.detach().numpy() if torch.is_tensor(got) else got
    assert got.shape == want.shape and np.array_equal(got, want.astype(got.dtype)), what
    return got.size


def compressed_tensors_decompresses(folder, layout, weights):
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig
    scheme = QuantizationConfig.model_validate(config_of(folder)["quantization_config"]).config_groups["group_0"]
    return sum(same(PackedQuantizationCompressor.decompress(torched(tensors), scheme)["weight"], weights[module], module)
               for module, tensors in linears_of(tensors_of(folder), layout).items())


def compressed_tensors_converts(folder, ours):
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
    converter = AutoAWQConverter.from_autoawq_config(config_of(folder)["quantization_config"])
    theirs = converter.process(torched(tensors_of(folder)))
    want = tensors_of(ours)
    assert set(theirs) == set(want), set(theirs) ^ set(want)
    return sum(same(theirs[name], want[name], name) for name in want)


def compressed_by_them(weight, scheme):
    """Tensors of a linear that compressed-tensors rounds and packs, scales in bfloat16."""
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.quantization.utils import calculate_qparams
    groups = weight.reshape(weight.shape[0], -1, scheme.weights.group_size)
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), scheme.weights)
    state = {"weight": weight, "weight_scale": scale.to(weight.dtype), "weight_zero_point": zero.to(torch.int8)}
    return PackedQuantizationCompressor.compress(state, scheme)


def awq_reads_theirs(driver, demo, folder, group):
    """A bfloat16 checkpoint that compressed-tensors writes."""
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
    from safetensors.torch import load_file, save_file
    weights = QuantizationArgs(num_bits=4, symmetric=False, strategy="group", group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    tensors, want = {}, {}
    for name, tensor in load_file(demo / "model.safetensors").items():
        tensor = tensor.to(torch.bfloat16)
        if "_proj.weight" not in name:
            tensors[name] = tensor
            continue
        module = name.removesuffix(".weight")
        packed = compressed_by_them(tensor, scheme)
        tensors.update({f"{module}.{suffix}": t.contiguous() for suffix, t in packed.items()})
        exact = dict(packed, weight_scale=packed["weight_scale"].float())  # float32 does not round the product
        want[module] = PackedQuantizationCompressor.decompress(exact, scheme)["weight"].numpy()
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    quantization = QuantizationConfig(config_groups={"group_0": scheme}, format="pack-quantized",
                                      quantization_status="compressed", ignore=["lm_head"])
    config = config_of(demo) | {"quantization_config": quantization.model_dump(mode="json")}
    (folder / "config.json").write_text(json.dumps(config))
    ours = weights_of(driver, folder, folder / "weights.safetensors")
    assert set(ours) == set(want)
    return sum(same(ours[module], want[module], module) for module in want)


def gptqmodel_dequantizes(folder, weights, group):
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm
    count = 0
    for module, tensors in linears_of(tensors_of(folder), "gemm").items():
        t = torched(tensors)
        got = dequantize_gemm(qweight=t["qweight"], qzeros=t["qzeros"], scales=t["scales"], bits=4, group_size=group)
        count += same(got.T, weights[module], module)
    return count


def gptqmodel_packs(folder, layout, weights, group):
    from gptqmodel.nn_modules.qlinear.gemv_awq import AwqGEMVLinear
    from gptqmodel.nn_modules.qlinear.gemv_fast_awq import AwqGEMVFastLinear
    kind = {"gemv": AwqGEMVLinear, "gemv_fast": AwqGEMVFastLinear}[layout]
    count = 0
    for module, tensors in linears_of(tensors_of(folder), layout).items():
        n, k = weights[module].shape
        _, scales, zeros = LAYOUTS[layout][1](tensors, n, k, group)
        linear = torch.nn.Linear(k, n, bias=False)
        linear.weight.data = torch.from_numpy(weights[module])
        packer = kind(bits=4, group_size=group, sym=False, desc_act=False, in_features=k, out_features=n, bias=False)
        packer.pack(linear, torch.from_numpy(scales.astype(np.float32)), torch.from_numpy(zeros.astype(np.float32)))
        count += sum(same(getattr(packer, suffix), tensors[suffix], f"{module}.{suffix}") for suffix in tensors)
    return count


def modelopt_packs(folder, weights, group):
    from modelopt.torch.export.quant_utils import pack_int4_in_uint8
    count = 0
    for module, tensors in linears_of(tensors_of(folder), "modelopt").items():
        t = torched(tensors)
        packed = pack_int4_in_uint8(torch.from_numpy(weights[module]), t["weight_scale"], group)
        count += same(packed, tensors["weight"], module)
    return count


def modelopt_exports_alike(demo, ours, theirs):
    """Its own quantization of the same model: other weights, but the same tensors and the same hf_quant_config.json."""
    import modelopt.torch.quantization as mtq
    from modelopt.torch.export import export_hf_checkpoint
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(demo, dtype=torch.float16)
    model = mtq.quantize(model, mtq.INT4_AWQ_CFG, lambda m: m(torch.arange(64)[None] % 4096))
    with torch.inference_mode():
        export_hf_checkpoint(model, export_dir=theirs)
    described = [{name: (str(t.dtype), t.shape) for name, t in tensors_of(folder).items()} for folder in (ours, theirs)]
    assert described[0] == described[1], set(described[0].items()) ^ set(described[1].items())
    files = [json.loads((folder / "hf_quant_config.json").read_text()) for folder in (ours, theirs)]
    assert files[0] == files[1], files
    copies = [config_of(folder)["quantization_config"] for folder in (ours, theirs)]
    assert copies[0] == copies[1] | {"group_size": 128}, copies
    return len(described[0])


def transformers_generates(awq, folder, layout):
    from transformers import AutoModelForCausalLM, AutoTokenizer, CompressedTensorsConfig
    # Without dequantize, transformers 5.23 expects weight_zero_point unpacked and refuses whoever's W4A16_ASYM.
    extra = {} if layout == "gemm" else {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu", **extra)
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False)[0]
    ours = subprocess.run([awq, "generate", folder, "-q", "-p", PROMPT, "-n", str(NEW_TOKENS), "--ignore-eos"], check=True,
                          capture_output=True, text=True).stdout
    return tokenizer.decode(out, skip_special_tokens=True), ours


def report(who, what, outcome):
    print(f"{who:20} {what:60} {outcome}", flush=True)


def check_case(awq, driver, demo, root, group, symmetric):
    folders = awq_layouts(awq, demo, root, group, symmetric)
    weights = weights_of(driver, folders["gemm"], root / "weights.safetensors")
    case = f"group {group}{', symmetric' if symmetric else ''}"
    for layout in [name for name in folders if name.startswith("compressed-tensors")]:
        count = compressed_tensors_decompresses(folders[layout], layout, weights)
        report("compressed-tensors", f"decompresses {layout}, {case}", f"{count} weights equal")
    count = compressed_tensors_converts(folders["gemm"], folders["compressed-tensors"])
    report("compressed-tensors", f"converts gemm to what awq convert writes, {case}", f"{count} elements equal")
    report("GPTQModel", f"dequantizes gemm, {case}", f"{gptqmodel_dequantizes(folders['gemm'], weights, group)} weights equal")
    for layout in ("gemv", "gemv_fast"):
        count = gptqmodel_packs(folders[layout], layout, weights, group)
        report("GPTQModel", f"packs {layout}, {case}", f"{count} elements equal")
    if symmetric:
        count = modelopt_packs(folders["modelopt"], weights, group)
        report("Model Optimizer", f"packs modelopt, {case}", f"{count} bytes equal")
    if symmetric and group == 128:
        count = modelopt_exports_alike(demo, folders["modelopt"], root / "modelopt_export")
        report("Model Optimizer", "exports its own quantization", f"the same {count} tensors and hf_quant_config.json")
    for layout in [name for name in folders if name.startswith(("gemm", "compressed-tensors"))]:
        theirs, ours = transformers_generates(awq, folders[layout], layout)
        assert ours.strip() and ours.strip() in theirs, (layout, ours, theirs)
        report("transformers", f"runs {layout}, {case}", f"the same {NEW_TOKENS} tokens")


def check_padded(awq, demo, root):
    folder = root / "padded"
    run(awq, "quantize", demo, folder, "-q", "--samples", 2, "--seqlen", 64, "--group-size", 64, "--pad-intermediate", 1024)
    assert config_of(folder)["intermediate_size"] == 1024
    theirs, ours = transformers_generates(awq, folder, "gemm")
    assert ours.strip() and ours.strip() in theirs, (ours, theirs)
    report("transformers", "runs gemm with the MLP padded from 768 to 1024", f"the same {NEW_TOKENS} tokens")


def main():
    warnings.simplefilter("ignore")
    logging.disable()
    awq, driver, demo = (Path(word).resolve() for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as root:
        for group, symmetric in CASES:
            check_case(awq, driver, demo, Path(root), group, symmetric)
        check_padded(awq, demo, Path(root))
        count = awq_reads_theirs(driver, demo, Path(root) / "theirs", 64)
        report("awq", "reads what compressed-tensors writes of a bfloat16 model", f"{count} weights equal")


if __name__ == "__main__":
    main()
