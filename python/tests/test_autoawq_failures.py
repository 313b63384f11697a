"""Where AutoAWQ fails: its kind of exception with a sentence that says what to do, or no failure."""

import tempfile

import awq_cpp
import numpy as np
import pytest
from autoawq_cases import TEXTS, changed, quantized_by, with_last
from awq_cpp.autoawq import AutoAWQForCausalLM, failures

NAN, INFINITY = 0x7FC0, 0x7F80  # of bfloat16
GATE, UP, DOWN = (f"model.layers.0.mlp.{name}_proj.weight" for name in ("gate", "up", "down"))

# AutoAWQ's kind of exception, words of our sentence, what to do.
FAILURES = [
    (EnvironmentError, "You must instantiate AutoAWQForCausalLM with", lambda d, t: AutoAWQForCausalLM()),
    (
        TypeError,
        "gpt7 isn't supported yet. supported: Llama",
        lambda d, t: AutoAWQForCausalLM.from_pretrained(
            changed(d, t, model_type="gpt7", architectures=["Gpt7ForCausalLM"])
        ),
    ),
    (
        TypeError,
        "mixtral isn't supported yet. supported: Llama",
        lambda d, t: AutoAWQForCausalLM.from_pretrained(
            changed(d, t, model_type="mixtral", architectures=["MixtralForCausalLM"])
        ),
    ),
    (
        TypeError,
        "unknown key 'group_size'; did you mean 'q_group_size'",
        lambda d, t: quantized_by(d, quant_config={"group_size": 64}),
    ),
    (
        ValueError,
        "Unknown version 'gem': choose gemm, gemv, gemv_fast",
        lambda d, t: quantized_by(d, quant_config={"version": "gem"}),
    ),
    (
        ValueError,
        "Unknown version 'marlin': .*turns into Marlin",
        lambda d, t: quantized_by(d, quant_config={"version": "Marlin"}),
    ),
    (
        NotImplementedError,
        "w_bit = 3: only 4 bits are supported",
        lambda d, t: quantized_by(d, quant_config={"w_bit": 3}),
    ),
    (IndexError, "calib_data is an empty list: give texts", lambda d, t: quantized_by(d, calib_data=[])),
    (
        NotImplementedError,
        "Either pass a string to a huggingface dataset or a list",
        lambda d, t: quantized_by(d, calib_data=7),
    ),
    (NotImplementedError, "this list holds NoneType, str", lambda d, t: quantized_by(d, calib_data=["a", None])),
    (
        RuntimeError,
        "the list of 1 texts has .* tokens, one window needs 64",
        lambda d, t: quantized_by(d, calib_data=["short"]),
    ),
    (
        AssertionError,
        "group size 96: choose 32, 64, 128",
        lambda d, t: quantized_by(d, quant_config={"q_group_size": 96}),
    ),
    (
        AssertionError,
        "not divisible by the group size 128: .*group sizes that fit: 32, 64",
        lambda d, t: quantized_by(changed(d, t, intermediate_size=704)),
    ),
    (
        AssertionError,
        "tensor 'model.norm.weight' holds nan in row",
        lambda d, t: quantized_by(changed(d, t, {"model.norm.weight": lambda bits: with_last(bits, NAN)})),
    ),
    (
        AssertionError,
        f"tensor '{DOWN}' holds 1 values that are not finite",
        lambda d, t: quantized_by(changed(d, t, {DOWN: lambda bits: with_last(bits, INFINITY)})),
    ),
    (
        ValueError,
        "is neither a folder nor a Hugging Face id",
        lambda d, t: AutoAWQForCausalLM.from_pretrained("no such thing"),
    ),
    (
        ValueError,
        "call quantize\\(\\) first",
        lambda d, t: AutoAWQForCausalLM.from_pretrained(d).save_quantized(t / "x"),
    ),
    (
        ValueError,
        "shard_size 'much': give a size",
        lambda d, t: quantized_by(d).save_quantized(t / "x", shard_size="much"),
    ),
    (
        AttributeError,
        "has no 'quantise'; did you mean 'quantize'",
        lambda d, t: AutoAWQForCausalLM.from_pretrained(d).quantise(),
    ),
]


@pytest.mark.parametrize(("kind", "words", "act"), FAILURES, ids=[row[1][:24] for row in FAILURES])
def test_failures_keep_their_type_and_say_more(one_block, tmp_path, kind, words, act):
    with pytest.raises(kind, match=words) as caught:
        act(one_block, tmp_path)
    assert isinstance(caught.value, awq_cpp.Error) or kind is AttributeError  # as hasattr() wants it


def test_a_full_temporary_folder_is_told_apart():
    words = "0.1 GB free; the environment variable TMPDIR names another folder"
    with pytest.raises(MemoryError, match=words), failures.as_autoawq_raises():
        raise awq_cpp.NoRoomError(f"{tempfile.gettempdir()}/awq-1 has 0.1 GB free")


# What ends in an assertion of AutoAWQ's, or in an exception without a word, and is no failure here.
NO_FAILURES = {
    "zero_point=False with gemm": lambda d, t: quantized_by(d, quant_config={"zero_point": False}),
    "zero_point=False with gemv": lambda d, t: quantized_by(d, quant_config={"zero_point": False, "version": "GEMV"}),
    "736 output features, no multiple of 64": lambda d, t: quantized_by(
        changed(
            d,
            t,
            {GATE: lambda bits: bits[:736], UP: lambda bits: bits[:736], DOWN: lambda bits: bits[:, :736]},
            intermediate_size=736,
        ),
        quant_config={"q_group_size": 32},
    ),
    "samples longer than max_calib_seq_len": lambda d, t: quantized_by(d, calib_data=[" ".join(TEXTS)]),
}


@pytest.mark.parametrize("case", NO_FAILURES)
def test_what_fails_in_autoawq_and_works_here(one_block, tmp_path, case):
    NO_FAILURES[case](one_block, tmp_path).save_quantized(tmp_path / "x")
    assert len(AutoAWQForCausalLM.from_quantized(tmp_path / "x").generate([[1, 2]], max_new_tokens=2)[0]) == 4


def test_activations_beyond_float16_have_finite_losses(one_block, tmp_path):
    """Where AutoAWQ finds no scale with a finite loss, and raises Exception()."""
    norm = "model.layers.0.post_attention_layernorm.weight"
    powers_of_two = {norm: lambda bits: bits + np.uint16(8 << 7)}  # 2^8 to the exponent: 2^16 in gate(x) * up(x)
    model = quantized_by(changed(one_block, tmp_path, powers_of_two))
    losses = {linear.name: linear.loss for linear in model.search_result}
    assert np.isfinite(list(losses.values())).all()
    assert model.quantizer.warnings == [] and losses["model.layers.0.mlp.down_proj"] > 65504
