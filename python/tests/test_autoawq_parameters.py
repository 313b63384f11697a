"""AutoAWQ 0.2.9's five public methods: their signatures, and every parameter: honoured, or ignored in one line."""

import importlib
import inspect
import pathlib
import re
import warnings

import awq_cpp
import numpy as np
import pytest
from autoawq_cases import TEXTS, quantized_by
from awq_cpp.autoawq import AutoAWQForCausalLM, AwqConfig, AwqQuantizer, BaseAWQForCausalLM, IgnoredArgument, arguments
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
    ("generate", "return_dict_in_generate", True, "token ids are returned"),
    ("generate", "repetition_penalty", 1.1, "no such parameter"),
]


@pytest.mark.parametrize(("method", "name", "value", "word"), IGNORED)
def test_ignored_parameters_say_so_in_one_line(one_block, saved, tmp_path, method, name, value, word):
    calls = {
        "from_pretrained": lambda: AutoAWQForCausalLM.from_pretrained(one_block, **{name: value}),
        "from_quantized": lambda: AutoAWQForCausalLM.from_quantized(saved, **{name: value}),
        "quantize": lambda: quantized_by(one_block, **{name: value}),
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


# Method, parameter, values that are the default or mean what happens anyway: no word.
QUIET = [
    ("from_pretrained", "torch_dtype", "auto"),
    ("from_pretrained", "trust_remote_code", False),
    ("from_pretrained", "safetensors", True),
    ("from_pretrained", "device_map", "auto"),
    ("from_pretrained", "device_map", {"": "cpu"}),
    ("from_pretrained", "low_cpu_mem_usage", True),
    ("from_pretrained", "download_kwargs", {}),
    ("from_quantized", "trust_remote_code", False),
    ("from_quantized", "fuse_layers", True),
    ("from_quantized", "device_map", "cpu"),
    ("from_quantized", "max_seq_len", 64),
]


@pytest.mark.parametrize(("method", "name", "value"), QUIET)
def test_the_rest_is_quiet(one_block, saved, method, name, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(AutoAWQForCausalLM, method)(one_block if method == "from_pretrained" else saved, **{name: value})


def test_defaults_are_those_of_the_command_line(cli, one_block, tmp_path):
    (tmp_path / "text.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS))
    cli("quantize", one_block, tmp_path / "cli", "--calib", tmp_path / "text.jsonl", "--samples", 4, "--seqlen", 64)
    quantized_by(one_block).save_quantized(tmp_path / "py")
    assert contents(tmp_path / "py") == contents(tmp_path / "cli")


# quantize() parameter, and what awq_cpp.quantize() does with the same meaning.
HONOURED = [
    ({"quant_config": {"q_group_size": 64}}, {"group_size": 64}),
    ({"quant_config": {"zero_point": False}}, {"zero_point": False}),
    ({"quant_config": {"version": "GEMV"}}, {"version": "gemv"}),
    ({"quant_config": {"version": "gEmV_fAsT"}}, {"version": "gemv_fast"}),
    ({"quant_config": {"modules_to_not_convert": ["down_proj"]}}, {"modules_to_not_convert": ["down_proj"]}),
    ({"quant_config": {"w_bit": 4, "quant_method": "awq"}}, {}),
    ({"quant_config": {"q_group_size": -1}}, {"group_size": -1}),
    ({"quant_config": {}}, {}),
    ({"quant_config": AwqConfig(q_group_size=32)}, {"group_size": 32}),
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
def test_honoured_parameters_of_quantize(one_block, tmp_path, arguments, meaning):
    quantized_by(one_block, **arguments).save_quantized(tmp_path / "shim")
    sources = {} if {"texts", "tokens"} & meaning.keys() else {"texts": TEXTS}
    awq_cpp.quantize(one_block, tmp_path / "own", **{"samples": 4, "seqlen": 64, **sources, **meaning})
    assert contents(tmp_path / "shim") == contents(tmp_path / "own")


def test_calibration_by_path_and_by_name(one_block, tmp_path, monkeypatch):
    (tmp_path / "hub/datasets--org--prose/refs").mkdir(parents=True)
    (tmp_path / "hub/datasets--org--prose/refs/main").write_text("f" * 40)
    snapshot = tmp_path / "hub/datasets--org--prose/snapshots" / ("f" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "test.txt").write_text(" ".join(TEXTS))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    by_name, by_path = (
        quantized_by(one_block, calib_data="org/prose", split="test"),
        quantized_by(one_block, calib_data=str(snapshot / "test.txt")),
    )
    assert by_name.quantizer.data_hash == by_path.quantizer.data_hash
    with pytest.raises(awq_cpp.BadInputError, match="hf download --repo-type dataset org/absent"):
        quantized_by(one_block, calib_data="org/absent")
    with pytest.warns(
        IgnoredArgument,
        match="'pileval' is replaced by the built-in sample: .*hf download --repo-type dataset mit-han-lab",
    ):
        default = quantized_by(one_block, calib_data="pileval")
    assert (
        default.quantizer.data_hash == awq_cpp.quantize(one_block, tmp_path / "builtin", samples=4, seqlen=64).data_hash
    )


# Parameters whose effect has a test of its own: (file, function).
ELSEWHERE = {
    "from_pretrained": {
        "model_path": ("test_autoawq_loading", "test_a_model_by_its_id_and_revision"),
    },
    "from_quantized": {
        "quant_path": ("test_autoawq_loading", "test_a_model_by_its_id_and_revision"),
        "config_kwargs": ("test_autoawq_loading", "test_any_kernel_version_runs_any_layout"),
    },
    "quantize": {
        "tokenizer": ("test_autoawq", "test_any_object_that_encodes_is_a_tokenizer"),
        "split": ("test_autoawq_parameters", "test_calibration_by_path_and_by_name"),
        "kwargs": ("test_autoawq", "test_what_is_beyond_autoawq_reaches_the_library"),
    },
    "save_quantized": {
        "save_dir": ("test_autoawq", "test_saving_again_replaces_and_keeps_the_rest"),
        "shard_size": ("test_autoawq", "test_saving_again_replaces_and_keeps_the_rest"),
    },
    "generate": {
        "args": ("test_autoawq_generate", "test_generate_takes_and_gives_what_it_was_given"),
        "kwargs": ("test_autoawq_generate", "test_sampling_parameters_reach_the_sampler"),
    },
}


@pytest.mark.parametrize("method", SIGNATURES, ids=lambda m: m.__name__)
def test_no_parameter_is_without_a_test(method):
    name = method.__name__
    rows = {row[1] for row in (*IGNORED, *QUIET) if row[0] == name}
    if name == "quantize":
        rows |= {parameter for given, _ in HONOURED for parameter in given}
    if "attn_implementation" in rows:
        rows.add("model_init_kwargs")
    assert set(SIGNATURES[method]) - rows - set(ELSEWHERE[name]) == set()
    for file, function in ELSEWHERE[name].values():
        assert callable(getattr(importlib.import_module(file), function))


def rows_of_the_page():
    """(method, parameter) -> what the page says."""
    page = ROOT / "docs/coming-from-autoawq.md"
    if not page.exists():
        pytest.skip("the documentation is not beside these tests")
    section = page.read_text().split("## Every parameter")[1].split("\n## ")[0]
    rows, method = {}, ""
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 3 and (names := re.findall(r"`(\w+)`", cells[1])):
            method = cells[0].strip("| `") or method
            rows.update({(method, name): cells[2] for name in names})
    return rows


def test_the_page_says_of_every_parameter_what_becomes_of_it():
    page = rows_of_the_page()
    for method, parameters in SIGNATURES.items():
        assert {name for m, name in page if m == method.__name__} >= set(parameters)
    for method, rows in arguments.IGNORED.items():
        for name, (quiet, why) in rows.items():
            manner = "ignored, silently: " if {True, False} <= set(quiet) else "ignored: "
            assert page[method, name].rstrip(" |") == manner + why
