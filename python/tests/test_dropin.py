"""The module `awq`: the script that people have, and the names it is imported by."""

import pathlib
import runpy

import pytest

pytest.importorskip("awq", reason="the distribution awq-cpp-autoawq is not installed")
import awq  # noqa: E402

if "awq_cpp" not in pathlib.Path(awq.models.auto.__file__).read_text():
    pytest.skip("the installed awq is a real AutoAWQ", allow_module_level=True)

# The document's example, letter by letter; the model's folder and the calibration list are put in by the test.
SCRIPT = """
from awq import AutoAWQForCausalLM
from transformers import AutoTokenizer

model_path = "MODEL_PATH"
quant_path = "QUANT_PATH"
quant_config = {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}

# Load model
model = AutoAWQForCausalLM.from_pretrained(model_path)
tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=True)

# Quantize
CALIB
model.quantize(tokenizer, quant_config=quant_config, calib_dataset=calib_dataset)

# Save quantized model
model.save_quantized(quant_path)
tokenizer.save_pretrained(quant_path)

# later
model = AutoAWQForCausalLM.from_quantized(quant_path, fuse_layers=True)
tokens = tokenizer("Once upon a time", return_tensors="np").input_ids
output = model.generate(tokens, max_new_tokens=16)
text = tokenizer.decode(output[0])
gemv = AutoAWQForCausalLM.from_quantized(quant_path, version="GEMV").generate(tokens, max_new_tokens=16)
"""


def test_the_script_runs_as_it_is(demo, tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    calib = "calib_dataset = [f'The river rose {i} times, and every time the old bridge held.' for i in range(6000)]"
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.replace("MODEL_PATH", demo).replace("QUANT_PATH", str(tmp_path / "out")).replace("CALIB", calib)
    )
    names = runpy.run_path(str(script))
    assert "Once upon a time" in names["text"] and names["output"].shape == (1, names["tokens"].shape[1] + 16)
    assert names["gemv"].shape == names["output"].shape
    assert (tmp_path / "out/tokenizer.json").exists() and (tmp_path / "out/model.safetensors").exists()


def test_names_that_scripts_import():
    from awq.evaluation import evaluate_perplexity
    from awq.models._config import AwqConfig
    from awq.models.base import BaseAWQForCausalLM
    from awq.quantize.quantizer import AwqQuantizer
    from awq.utils.utils import get_best_device

    assert awq.__version__ == "0.2.9"
    assert get_best_device() in ("cpu", "cuda:0")
    assert evaluate_perplexity and AwqConfig and BaseAWQForCausalLM and AwqQuantizer
