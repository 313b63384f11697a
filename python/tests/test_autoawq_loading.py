"""Which model from_pretrained() and from_quantized() load, where it runs, and with which kernels."""

import pathlib
import shutil

import awq_cpp
import pytest
from autoawq_cases import TEXTS, quantized_by
from awq_cpp.autoawq import AutoAWQForCausalLM, IgnoredArgument, arguments

COMMITS = {"main": "a" * 40, "v2": "b" * 40}
METHODS = {"from_pretrained": "one_block", "from_quantized": "saved"}


@pytest.fixture
def hub(request, method, tmp_path, monkeypatch):
    """org/name in a Hugging Face cache; v2 has a context of 99 tokens."""
    folder = tmp_path / "hub/models--org--name"
    (folder / "refs").mkdir(parents=True)
    for ref, commit in COMMITS.items():
        (folder / "refs" / ref).write_text(commit)
        shutil.copytree(request.getfixturevalue(METHODS[method]), folder / "snapshots" / commit)
    config = folder / "snapshots" / COMMITS["v2"] / "config.json"
    config.write_text(config.read_text().replace("2048", "99"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("given", "positions"),
    [({}, 2048), ({"revision": "v2"}, 99), ({"download_kwargs": {"revision": "v2"}}, 99)],
    ids=str,
)
def test_a_model_by_its_id_and_revision(hub, method, given, positions):
    model = getattr(AutoAWQForCausalLM, method)("org/name", **given)
    assert model.config.max_position_embeddings == positions


@pytest.mark.parametrize("method", METHODS)
def test_a_revision_that_is_not_cached_is_named_with_the_command(hub, method):
    with pytest.raises(ValueError, match="hf download org/name --revision v3"):
        getattr(AutoAWQForCausalLM, method)("org/name", download_kwargs={"revision": "v3"})


@pytest.mark.parametrize("method", METHODS)
def test_a_path_may_be_a_string_or_a_path(request, method):
    folder = request.getfixturevalue(METHODS[method])
    for path in (str(folder), pathlib.Path(folder)):
        assert getattr(AutoAWQForCausalLM, method)(path).model_type == "llama"


@pytest.mark.parametrize(
    ("device_map", "device"),
    [
        *[(name, "auto") for name in (None, "auto", "balanced", "balanced_low_0", "sequential")],
        ("cpu", "cpu"),
        ("cuda:1", "cuda:1"),
        (1, "cuda:1"),
        ({"": "cuda:1"}, "cuda:1"),
        ({"model.embed_tokens": 1, "lm_head": 1}, "cuda:1"),
    ],
    ids=str,
)
def test_devices_that_device_map_means(device_map, device):
    assert arguments.device_of(device_map) == device


def test_device_map_is_where_the_model_is_quantized_and_run(one_block, saved):
    not_here = pytest.raises(RuntimeError, match="CUDA|cuda:77")
    with not_here:
        AutoAWQForCausalLM.from_pretrained(one_block, device_map="cuda:77").quantize(calib_data=TEXTS)
    with not_here:
        AutoAWQForCausalLM.from_quantized(saved, device_map="cuda:77")
    assert AutoAWQForCausalLM.from_quantized(saved, device_map="cpu").device == "cpu"


def test_device_has_an_older_name(saved):
    assert AutoAWQForCausalLM.from_quantized(saved, device="cpu").device == "cpu"
    with pytest.raises(RuntimeError, match="CUDA|cuda:77"):
        AutoAWQForCausalLM.from_quantized(saved, device="cuda:77")


def test_a_model_on_several_devices_becomes_one_on_one(saved):
    with pytest.warns(IgnoredArgument, match="a model runs on one device"):
        assert AutoAWQForCausalLM.from_quantized(saved, device_map={"a": "cpu", "b": "cuda:0"}).model


@pytest.mark.parametrize("layout", ["GEMM", "GEMV", "GEMV_FAST"])
@pytest.mark.parametrize("version", ["GEMM", "GEMV", "auto"])
def test_any_kernel_version_runs_any_layout(one_block, tmp_path, layout, version):
    quantized_by(one_block, quant_config={"version": layout}).save_quantized(tmp_path / "x")
    model = AutoAWQForCausalLM.from_quantized(tmp_path / "x", version=version)
    assert model.quant_config.version == layout.lower()
    kernels = model.model.kernels
    assert "w4a16" in kernels and (version == "auto" or ("gemv_w4a16" in kernels) == (version == "GEMV"))
    assert len(model.generate([[1, 2, 3]], max_new_tokens=3)[0]) == 6


def test_a_kernel_version_that_cannot_run_is_a_runtime_error(saved):
    kernels = {row.name for row in awq_cpp.kernel_status("cpu") if not row.usable}
    if not kernels:
        pytest.skip("this machine runs every kernel of the CPU's table")
    with pytest.raises(RuntimeError, match="^Kernel version not supported on this hardware: "):
        AutoAWQForCausalLM.from_quantized(saved, device_map="cpu", version=kernels.pop())


def test_max_seq_len_limits_the_context(saved):
    model = AutoAWQForCausalLM.from_quantized(saved, max_seq_len=8)
    assert len(model.generate([[1, 2, 3]], max_new_tokens=100, ignore_eos=True)[0]) == 8
    with pytest.raises(ValueError, match="the prompt has 8 tokens, max_seq_len is 8"):
        model.generate([[1] * 8], max_new_tokens=1)
    with pytest.warns(DeprecationWarning, match="use max_seq_len"):
        assert AutoAWQForCausalLM.from_quantized(saved, max_new_tokens=9).max_seq_len == 9
