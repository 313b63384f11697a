"""AutoAWQ 0.2.9's five public methods: their signatures, and every parameter: honoured, or ignored in one line."""

import inspect
import pathlib
import warnings

import awq_cpp
import numpy as np
import pytest
from autoawq_cases import TEXTS, quantized_by, saved_by
from awq_cpp.autoawq import AutoAWQForCausalLM, AwqQuantizer, BaseAWQForCausalLM, IgnoredArgument, arguments
from conftest import ROOT, contents

# As AutoAWQ 0.2.9 declares them; `self` and `cls` left out.
SIGNATURES = {
    AutoAWQForCausalLM.from_pretrained: {
        "model_path": inspect.Parameter.empty,
        "torch_dtype": "auto",
        "trust_remote_code": True,
        "safetensors": True,
        "device_map": None,
        "download_kwargs": None,
        "low_cpu_mem_usage": True,
        "use_cache": False,
        "model_init_kwargs": inspect.Parameter.empty,
    },
    AutoAWQForCausalLM.from_quantized: {
        "quant_path": inspect.Parameter.empty,
        "quant_filename": "",
        "max_seq_len": 2048,
        "trust_remote_code": True,
        "fuse_layers": True,
        "use_exllama": False,
        "use_exllama_v2": False,
        "use_ipex": False,
        "batch_size": 1,
        "safetensors": True,
        "device_map": "balanced",
        "max_memory": None,
        "offload_folder": None,
        "download_kwargs": None,
        "config_kwargs": inspect.Parameter.empty,
    },
    BaseAWQForCausalLM.quantize: {
        "tokenizer": None,
        "quant_config": {},
        "calib_data": "pileval",
        "split": "train",
        "text_column": "text",
        "duo_scaling": True,
        "export_compatible": False,
        "apply_clip": True,
        "n_parallel_calib_samples": None,
        "max_calib_samples": 128,
        "max_calib_seq_len": 512,
        "max_chunk_memory": 1024 * 1024 * 1024,
        "quantizer_cls": AwqQuantizer,
        "kwargs": inspect.Parameter.empty,
    },
    BaseAWQForCausalLM.save_quantized: {"save_dir": inspect.Parameter.empty, "safetensors": True, "shard_size": "5GB"},
    BaseAWQForCausalLM.generate: {"args": inspect.Parameter.empty, "kwargs": inspect.Parameter.empty},
}


@pytest.mark.parametrize("method", SIGNATURES, ids=lambda m: m.__name__)
def test_signatures(method):
    parameters = {n: p.default for n, p in inspect.signature(method).parameters.items() if n != "self"}
    assert parameters == SIGNATURES[method]
    assert list(parameters) == list(SIGNATURES[method])


@pytest.fixture(scope="module")
def demo(one_block):
    return one_block


@pytest.fixture(scope="module")
def saved(demo, tmp_path_factory):
    return saved_by(demo, tmp_path_factory)


# Method, parameter, a value that changes nothing here, a word of the warning.
IGNORED = [
    ("from_pretrained", "torch_dtype", "float16", "stored in"),
    ("from_pretrained", "safetensors", False, "pickles"),
    ("from_pretrained", "low_cpu_mem_usage", False, "one block"),
    ("from_pretrained", "use_cache", True, "calibration"),
    ("from_pretrained", "download_kwargs", {"cache_dir": "x"}, "nothing is downloaded"),
    ("from_pretrained", "attn_implementation", "eager", "no such parameter"),
    ("from_quantized", "quant_filename", "model.safetensors", "index"),
    ("from_quantized", "fuse_layers", False, "fused"),
    ("from_quantized", "use_exllama", True, "version="),
    ("from_quantized", "use_exllama_v2", True, "version="),
    ("from_quantized", "use_ipex", True, "CPUs have kernels"),
    ("from_quantized", "use_qbits", True, "CPUs have kernels"),
    ("from_quantized", "batch_size", 8, "any number of rows"),
    ("from_quantized", "safetensors", False, "pickles"),
    ("from_quantized", "max_memory", {0: "4GB"}, "one device"),
    ("from_quantized", "offload_folder", "x", "one device"),
    ("from_quantized", "download_kwargs", {"cache_dir": "x"}, "nothing is downloaded"),
    ("from_quantized", "attn_implementation", "eager", "no such parameter"),
    ("from_quantized", "torch_dtype", "float16", "stored in"),
    ("quantize", "export_compatible", True, "always packed"),
    ("quantize", "n_parallel_calib_samples", 16, "memory does not grow"),
    ("quantize", "max_chunk_memory", 1 << 20, "no activations are kept"),
    ("quantize", "quantizer_cls", object, "own"),
    ("quantize", "something_else", 1, "no such parameter"),
    ("save_quantized", "safetensors", False, "pickles"),
    ("generate", "use_cache", False, "always cached"),
    ("generate", "num_beams", 4, "one continuation"),
    ("generate", "repetition_penalty", 1.1, "no such parameter"),
]


@pytest.mark.parametrize(("method", "name", "value", "word"), IGNORED)
def test_ignored_parameters_say_so_in_one_line(demo, saved, tmp_path, method, name, value, word):
    calls = {
        "from_pretrained": lambda: AutoAWQForCausalLM.from_pretrained(demo, **{name: value}),
        "from_quantized": lambda: AutoAWQForCausalLM.from_quantized(saved, **{name: value}),
        "quantize": lambda: quantized_by(demo, **{name: value}),
        "save_quantized": lambda: AutoAWQForCausalLM.from_quantized(saved).save_quantized(
            tmp_path / "out", **{name: value}
        ),
        "generate": lambda: AutoAWQForCausalLM.from_quantized(saved).generate(
            [[1, 2]], max_new_tokens=1, **{name: value}
        ),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calls[method]()
    mine = [w for w in caught if issubclass(w.category, IgnoredArgument)]
    assert len(mine) == 1, [str(w.message) for w in caught]
    sentence = str(mine[0].message)
    assert sentence.startswith(f"{method}(") and name in sentence and "is ignored: " in sentence and word in sentence
    assert "\n" not in sentence and pathlib.Path(mine[0].filename).parent == pathlib.Path(__file__).parent


def test_the_page_lists_every_ignored_parameter():
    page = ROOT / "docs/coming-from-autoawq.md"
    if not page.exists():
        pytest.skip("the documentation is not beside these tests")
    text = page.read_text()
    for rows in arguments.IGNORED.values():
        assert [name for name in rows if f"`{name}" not in text] == []


# Method, parameter, values that are the default or mean what happens anyway: no word.
QUIET = [
    ("from_pretrained", "torch_dtype", "auto"),
    ("from_pretrained", "trust_remote_code", False),
    ("from_pretrained", "safetensors", True),
    ("from_pretrained", "device_map", "auto"),
    ("from_pretrained", "device_map", {"": "cpu"}),
    ("from_pretrained", "low_cpu_mem_usage", True),
    ("from_quantized", "trust_remote_code", False),
    ("from_quantized", "fuse_layers", True),
    ("from_quantized", "device_map", "cpu"),
    ("from_quantized", "max_seq_len", 64),
]


@pytest.mark.parametrize(("method", "name", "value"), QUIET)
def test_the_rest_is_quiet(demo, saved, method, name, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(AutoAWQForCausalLM, method)(demo if method == "from_pretrained" else saved, **{name: value})


def test_defaults_are_those_of_the_command_line(cli, demo, tmp_path):
    (tmp_path / "text.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))
    cli("quantize", demo, tmp_path / "cli", "--calib", tmp_path / "text.jsonl", "--samples", 4, "--seqlen", 64)
    quantized_by(demo).save_quantized(tmp_path / "py")
    assert contents(tmp_path / "py") == contents(tmp_path / "cli")


# quantize() parameter, and what awq_cpp.quantize() does with the same meaning.
HONOURED = [
    ({"quant_config": {"q_group_size": 64}}, {"group_size": 64}),
    ({"quant_config": {"zero_point": False}}, {"zero_point": False}),
    ({"quant_config": {"version": "GEMV"}}, {"version": "gemv"}),
    ({"quant_config": {"version": "gEmV_fAsT"}}, {"version": "gemv_fast"}),
    ({"quant_config": {"modules_to_not_convert": ["down_proj"]}}, {"modules_to_not_convert": ["down_proj"]}),
    ({"quant_config": {"w_bit": 4, "quant_method": "awq"}}, {}),
    ({"duo_scaling": False}, {"search": "paper"}),
    ({"apply_clip": False}, {"clip": False}),
    ({"max_calib_samples": 2}, {"samples": 2}),
    ({"max_calib_seq_len": 32}, {"seqlen": 32}),
    ({"calib_data": TEXTS[:30]}, {"texts": TEXTS[:30]}),
    ({"calib_dataset": TEXTS[:30]}, {"texts": TEXTS[:30]}),
    ({"calib_data": [[5, 6, 7] * 200]}, {"tokens": [[5, 6, 7] * 200]}),
    ({"calib_data": np.arange(512).reshape(2, 256)}, {"tokens": [list(range(256)), list(range(256, 512))]}),
    ({"calib_data": [{"body": text} for text in TEXTS], "text_column": "body"}, {}),
    ({"calib_data": iter(TEXTS)}, {}),
    ({"keep_fp16": 0.01}, {"keep_fp16": 0.01}),
]


@pytest.mark.parametrize(("arguments", "meaning"), HONOURED, ids=str)
def test_honoured_parameters_of_quantize(demo, tmp_path, arguments, meaning):
    quantized_by(demo, **arguments).save_quantized(tmp_path / "shim")
    sources = {} if {"texts", "tokens"} & meaning.keys() else {"texts": TEXTS}
    awq_cpp.quantize(demo, tmp_path / "own", **{"samples": 4, "seqlen": 64, **sources, **meaning})
    assert contents(tmp_path / "shim") == contents(tmp_path / "own")


def test_calibration_by_path_and_by_name(demo, tmp_path, monkeypatch):
    (tmp_path / "hub/datasets--org--prose/refs").mkdir(parents=True)
    (tmp_path / "hub/datasets--org--prose/refs/main").write_text("f" * 40)
    snapshot = tmp_path / "hub/datasets--org--prose/snapshots" / ("f" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "test.txt").write_text(" ".join(TEXTS))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    by_name, by_path = (
        quantized_by(demo, calib_data="org/prose", split="test"),
        quantized_by(demo, calib_data=str(snapshot / "test.txt")),
    )
    assert by_name.quantizer.data_hash == by_path.quantizer.data_hash
    with pytest.raises(awq_cpp.BadInputError, match="hf download --repo-type dataset org/absent"):
        quantized_by(demo, calib_data="org/absent")
    with pytest.warns(
        IgnoredArgument,
        match="'pileval' is replaced by the built-in sample: .*hf download --repo-type dataset mit-han-lab",
    ):
        default = quantized_by(demo, calib_data="pileval")
    assert default.quantizer.data_hash == awq_cpp.quantize(demo, tmp_path / "builtin", samples=4, seqlen=64).data_hash
