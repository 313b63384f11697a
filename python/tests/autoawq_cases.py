"""What the tests of AutoAWQ's classes share."""

from awq_cpp.autoawq import AutoAWQForCausalLM
from conftest import TEXT

TEXTS = [f"{TEXT} {i}" for i in range(60)]
QUICK = {"max_calib_samples": 4, "max_calib_seq_len": 64}


def quantized_by(demo, **arguments):
    model = AutoAWQForCausalLM.from_pretrained(demo)
    model.quantize(**{"calib_data": TEXTS, **QUICK, **arguments})
    return model


def saved_by(demo, tmp_path_factory):
    out = tmp_path_factory.mktemp("saved") / "awq"
    quantized_by(demo).save_quantized(out)
    return out
