"""AutoAWQ 0.2.9's five public methods: signatures, every parameter, every failure, and the script that people have."""

import inspect
import json
import shutil
import warnings

import awq_cpp
import numpy as np
import pytest
from awq_cpp import autoawq
from awq_cpp.autoawq import AutoAWQForCausalLM, AwqQuantizer, BaseAWQForCausalLM, IgnoredArgument
from conftest import DEMO, TEXT, contents

TEXTS = [f"{TEXT} {i}" for i in range(60)]
QUICK = {"max_calib_samples": 4, "max_calib_seq_len": 64}

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
def demo(tmp_path_factory):
    """The first block of the demo model: most of what is tested here does not depend on how many there are."""
    folder = tmp_path_factory.mktemp("model") / "demo"
    shutil.copytree(DEMO, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    return str(folder)


@pytest.fixture(scope="module")
def saved(demo, tmp_path_factory):
    out = tmp_path_factory.mktemp("saved") / "awq"
    model = AutoAWQForCausalLM.from_pretrained(demo)
    model.quantize(calib_data=TEXTS, **QUICK)
    model.save_quantized(out)
    return out


def quantized_by(demo, **arguments):
    model = AutoAWQForCausalLM.from_pretrained(demo)
    model.quantize(**{"calib_data": TEXTS, **QUICK, **arguments})
    return model


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
    assert "\n" not in sentence and mine[0].filename == __file__


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


def with_config(tmp_path, demo, **changes):
    shutil.copytree(demo, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps({**config, **changes}))
    return tmp_path / "model"


def with_nan(tmp_path, demo):
    shutil.copytree(demo, tmp_path / "model")
    path = tmp_path / "model/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-4:-2] = b"\xff\x7f"  # a bfloat16 NaN
    path.write_bytes(data)
    return tmp_path / "model"


# AutoAWQ's kind of exception, words of our sentence, what to do.
FAILURES = [
    (EnvironmentError, "You must instantiate AutoAWQForCausalLM with", lambda d, t: AutoAWQForCausalLM()),
    (
        TypeError,
        "gpt7 isn't supported yet. supported: Llama",
        lambda d, t: AutoAWQForCausalLM.from_pretrained(
            with_config(t, d, model_type="gpt7", architectures=["Gpt7ForCausalLM"])
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
        lambda d, t: AutoAWQForCausalLM.from_pretrained(with_config(t, d, intermediate_size=704)).quantize(
            calib_data=TEXTS, **QUICK
        ),
    ),
    (
        AssertionError,
        "tensor 'model.norm.weight' holds nan in row",
        lambda d, t: AutoAWQForCausalLM.from_pretrained(with_nan(t, d)).quantize(calib_data=TEXTS, **QUICK),
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
def test_failures_keep_their_type_and_say_more(demo, tmp_path, kind, words, act):
    with pytest.raises(kind, match=words):
        act(demo, tmp_path)


def test_zero_point_false_works_where_autoawq_ends_in_an_assertion(demo, tmp_path):
    quantized_by(demo, quant_config={"zero_point": False}).save_quantized(tmp_path / "x")
    assert AutoAWQForCausalLM.from_quantized(tmp_path / "x").generate([[1, 2]], max_new_tokens=2)


@pytest.mark.parametrize("layout", ["GEMM", "GEMV", "GEMV_FAST"])
@pytest.mark.parametrize("version", ["GEMM", "GEMV", "auto"])
def test_any_kernel_version_runs_any_layout(demo, tmp_path, layout, version):
    quantized_by(demo, quant_config={"version": layout}).save_quantized(tmp_path / "x")
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
        AutoAWQForCausalLM.from_quantized(saved, version=kernels.pop())


def test_attributes(saved, demo):
    model = AutoAWQForCausalLM.from_pretrained(demo)
    assert (model.model_type, model.is_quantized, model.quantizer, model.processor) == ("llama", False, None, None)
    assert model.config.hidden_size == 256
    model.quantize(calib_data=TEXTS, **QUICK)
    assert model.is_quantized and model.quant_config.w_bit == 4 and len(model.search_result) == 7
    assert model.quant_config.to_transformers_dict() == {
        "quant_method": "awq",
        "zero_point": True,
        "group_size": 128,
        "bits": 4,
        "version": "gemm",
        "modules_to_not_convert": None,
    }
    model.pack()
    assert model.generate([[1, 2]], max_new_tokens=2) == AutoAWQForCausalLM.from_quantized(saved).generate(
        [[1, 2]], max_new_tokens=2
    )
    assert model.eval().cpu().to("cpu").device == "cpu"


def test_warnings_of_the_library_are_logged_and_progress_is_told(demo, caplog, capsys):
    quantized_by(demo, max_calib_samples=10_000)
    assert any("were asked for" in record.message and record.name == "awq_cpp" for record in caplog.records)
    seen = []
    quantized_by(demo, progress=seen.append)
    assert seen[-1].block == 1


def test_generate_takes_and_gives_what_it_was_given(saved):
    model = AutoAWQForCausalLM.from_quantized(saved)
    ids = [5, 6, 7, 8]
    want = model.generate([ids], max_new_tokens=6)
    assert want[0][:4] == ids and len(want[0]) == 10
    array = model.generate(np.array([ids]), max_new_tokens=6)
    assert isinstance(array, np.ndarray) and array.tolist() == want
    assert (
        model.generate(
            **{"input_ids": np.array([ids]), "attention_mask": np.ones((1, 4), int)}, max_new_tokens=6
        ).tolist()
        == want
    )
    assert model.generate({"input_ids": [ids]}, max_length=10) == want
    assert len(model.generate([ids])[0]) == 20  # transformers' default max_length
    padded = model.generate(
        [[0, 0, *ids], [9] * 6], attention_mask=[[0, 0, 1, 1, 1, 1], [1] * 6], max_new_tokens=6, pad_token_id=3
    )
    assert padded[0] == want[0] + [3, 3] and len(padded[1]) == 12
    drawn = [
        model.generate([ids], max_new_tokens=8, do_sample=True, temperature=1.0, top_k=0, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    ends = model.generate([ids], max_new_tokens=6, eos_token_id=want[0][6])
    assert ends[0] == want[0][: want[0].index(want[0][6], 4) + 1]


def test_generate_streams_tokens(saved):
    class Streamer:
        def __init__(self):
            self.put_ids, self.ended = [], False

        def put(self, value):
            self.put_ids.append(value.tolist())

        def end(self):
            self.ended = True

    streamer = Streamer()
    model = AutoAWQForCausalLM.from_quantized(saved)
    ids = model.generate([[5, 6, 7]], streamer=streamer, max_new_tokens=5)
    assert streamer.put_ids == [[[5, 6, 7]], *[[token] for token in ids[0][3:]]] and streamer.ended
    with pytest.raises(ValueError, match="a streamer follows one prompt"):
        model.generate([[5], [6]], streamer=streamer)


def test_max_seq_len_limits_the_context(saved):
    model = AutoAWQForCausalLM.from_quantized(saved, max_seq_len=8)
    assert len(model.generate([[1, 2, 3]], max_new_tokens=100, ignore_eos=True)[0]) == 8
    with pytest.raises(ValueError, match="the prompt has 8 tokens, max_seq_len is 8"):
        model.generate([[1] * 8], max_new_tokens=1)
    with pytest.warns(DeprecationWarning, match="use max_seq_len"):
        assert AutoAWQForCausalLM.from_quantized(saved, max_new_tokens=9).max_seq_len == 9


def test_forward_gives_logits(saved):
    model = AutoAWQForCausalLM.from_quantized(saved)
    logits = model(np.array([[1, 2, 3]])).logits
    np.testing.assert_array_equal(logits[0], awq_cpp.Model(saved).logits([1, 2, 3]))


def test_saving_again_replaces_and_keeps_the_rest(saved, demo, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "notes.md").write_text("mine")
    model = quantized_by(demo)
    model.save_quantized(target, shard_size="2200KB")
    shards = sorted(f.name for f in target.glob("*.safetensors"))
    assert shards[0] == "model-00001-of-00002.safetensors" and (target / "model.safetensors.index.json").exists()
    awq_cpp.quantize(demo, tmp_path / "own", texts=TEXTS, samples=4, seqlen=64, max_shard_bytes=2_200_000)
    sharded = contents(target)
    assert sharded.pop("notes.md") == b"mine"
    own = contents(tmp_path / "own")
    del own["awq_report.json"], sharded["awq_report.json"]  # it names the shard size of the run
    assert sharded == own
    model.save_quantized(str(target) + "/")
    assert contents(target) == {**contents(saved), "notes.md": b"mine"}
    with pytest.raises(ValueError, match="is where the model was loaded from"):
        AutoAWQForCausalLM.from_quantized(saved).save_quantized(saved)


def test_perplexity_as_autoawq_measures_it(saved, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    import pyarrow

    folder = tmp_path / "hub/datasets--Salesforce--wikitext"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("a" * 40)
    snapshot = folder / "snapshots" / ("a" * 40) / "wikitext-2-raw-v1"
    snapshot.mkdir(parents=True)
    lines = [*TEXTS, "", *TEXTS]
    parquet.write_table(pyarrow.table({"text": lines}), snapshot / "test-00000-of-00001.parquet")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    model = AutoAWQForCausalLM.from_quantized(saved)
    want = model.model.evaluate("\n\n".join(lines), window=2048, max_windows=0, max_chars=0).perplexity
    assert autoawq.evaluate_perplexity(model, None) == want


def test_a_transformers_tokenizer_is_taken_as_it_is(demo, tmp_path, capsys):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(demo)
    theirs, ours = quantized_by(demo, tokenizer=tokenizer), quantized_by(demo)
    assert theirs.quantizer.data_hash == ours.quantizer.data_hash
    theirs.save_quantized(tmp_path / "x")
    model = AutoAWQForCausalLM.from_quantized(tmp_path / "x")
    inputs = tokenizer("Once upon a time", return_tensors="np")
    ids = model.generate(**inputs, max_new_tokens=8)
    assert "Once upon a time" in tokenizer.decode(ids[0])
    capsys.readouterr()
    model.generate(**inputs, max_new_tokens=8, streamer=transformers.TextStreamer(tokenizer))
    assert capsys.readouterr().out.strip() == tokenizer.decode(ids[0]).strip()


def test_any_object_that_encodes_is_a_tokenizer(demo):
    class Letters:
        def encode(self, text, add_special_tokens=True):
            assert not add_special_tokens
            return [ord(c) for c in text if ord(c) < 128]

    model = quantized_by(demo, tokenizer=Letters())
    assert (
        model.quantizer.data_hash
        == quantized_by(demo, calib_data=[[ord(c) for c in text] for text in TEXTS]).quantizer.data_hash
    )
