"""AutoAWQ's classes: every failure under its own type, and what a script does with a model."""

import json
import shutil
import tempfile

import awq_cpp
import numpy as np
import pytest
from autoawq_cases import QUICK, TEXTS, quantized_by, saved_by
from awq_cpp import autoawq
from awq_cpp.autoawq import AutoAWQForCausalLM, failures
from conftest import contents


@pytest.fixture(scope="module")
def demo(one_block):
    return one_block


@pytest.fixture(scope="module")
def saved(demo, tmp_path_factory):
    return saved_by(demo, tmp_path_factory)


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


def test_a_full_temporary_folder_is_told_apart():
    words = "0.1 GB free; the environment variable TMPDIR names another folder"
    with pytest.raises(MemoryError, match=words), failures.as_autoawq_raises():
        raise awq_cpp.NoRoomError(f"{tempfile.gettempdir()}/awq-1 has 0.1 GB free")


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
