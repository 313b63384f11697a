"""What else a script does with AutoAWQ's model."""

import awq_cpp
import numpy as np
import pytest
from autoawq_cases import QUICK, TEXTS, quantized_by
from awq_cpp import autoawq
from awq_cpp.autoawq import AutoAWQForCausalLM
from conftest import contents


def test_attributes(saved, one_block):
    model = AutoAWQForCausalLM.from_pretrained(one_block)
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


def test_warnings_of_the_library_are_logged_and_progress_is_told(one_block, caplog, capsys):
    quantized_by(one_block, max_calib_samples=10_000)
    assert any("were asked for" in record.message and record.name == "awq_cpp" for record in caplog.records)
    seen = []
    quantized_by(one_block, progress=seen.append)
    assert seen[-1].block == 1


def test_forward_gives_logits(saved):
    model = AutoAWQForCausalLM.from_quantized(saved)
    logits = model(np.array([[1, 2, 3]])).logits
    np.testing.assert_array_equal(logits[0], awq_cpp.Model(saved).logits([1, 2, 3]))


def test_saving_again_replaces_and_keeps_the_rest(saved, one_block, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "notes.md").write_text("mine")
    model = quantized_by(one_block)
    model.save_quantized(target, shard_size="2200KB")
    shards = sorted(f.name for f in target.glob("*.safetensors"))
    assert shards[0] == "model-00001-of-00002.safetensors" and (target / "model.safetensors.index.json").exists()
    awq_cpp.quantize(one_block, tmp_path / "own", texts=TEXTS, samples=4, seqlen=64, max_shard_bytes=2_200_000)
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


def test_a_transformers_tokenizer_is_taken_as_it_is(one_block, tmp_path, capsys):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    tokenizer = transformers.AutoTokenizer.from_pretrained(one_block)
    theirs, ours = quantized_by(one_block, tokenizer=tokenizer), quantized_by(one_block)
    assert theirs.quantizer.data_hash == ours.quantizer.data_hash
    theirs.save_quantized(tmp_path / "x")
    model = AutoAWQForCausalLM.from_quantized(tmp_path / "x")
    inputs = tokenizer("Once upon a time", return_tensors="np")
    ids = model.generate(**inputs, max_new_tokens=8)
    assert "Once upon a time" in tokenizer.decode(ids[0])
    capsys.readouterr()
    model.generate(**inputs, max_new_tokens=8, streamer=transformers.TextStreamer(tokenizer))
    assert capsys.readouterr().out.strip() == tokenizer.decode(ids[0]).strip()


def test_any_object_that_encodes_is_a_tokenizer(one_block):
    class Letters:
        def encode(self, text, add_special_tokens=True):
            assert not add_special_tokens
            return [ord(c) for c in text if ord(c) < 128]

    model = quantized_by(one_block, tokenizer=Letters())
    assert (
        model.quantizer.data_hash
        == quantized_by(one_block, calib_data=[[ord(c) for c in text] for text in TEXTS]).quantizer.data_hash
    )


def test_what_is_beyond_autoawq_reaches_the_library(one_block, tmp_path):
    beyond = {"keep_fp16": 0.01, "salient_by": "random", "objective": "module", "seed": 7, "threads": 1}
    model = quantized_by(one_block, **beyond, work_dir=tmp_path / "work")
    model.save_quantized(tmp_path / "shim")
    awq_cpp.quantize(one_block, tmp_path / "own", texts=TEXTS, samples=4, seqlen=64, **beyond)
    assert contents(tmp_path / "shim") == contents(tmp_path / "own")
