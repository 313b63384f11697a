import signal
import subprocess
import sys
import threading
import time

import awq_cpp
import numpy
import pytest
from conftest import INTERRUPTIBLE, TEXT

PROMPTS = ["The ", "Once upon a time", "In the beginning", "A man", "She said", "It was", "When", "There is no"]


def test_streams_the_text_it_returns(model):
    generation = model.generate(
        "Once upon a time", max_new_tokens=40, temperature=0.9, top_p=0.95, seed=5, stop_at_eos=False
    )
    pieces = list(generation)
    assert len(pieces) > 1 and "".join(pieces) == generation.text == str(generation)
    assert len(generation.token_ids) == generation.timing.new_tokens == 40
    assert generation.timing.first_token_seconds > 0 and len(generation.timing.token_seconds) == 39
    assert model.decode(model.encode("Once upon a time") + generation.token_ids) == "Once upon a time" + generation.text


def test_greedy_follows_the_largest_logit(model):
    ids = model.encode("The ")
    for token in model.generate(ids, max_new_tokens=4, stop_at_eos=False).token_ids:
        logits = model.logits(ids)
        assert logits.shape == (len(ids), model.vocab_size) and logits.dtype == numpy.float32
        assert int(logits[-1].argmax()) == token
        ids.append(token)


def test_text_is_that_of_the_command_line(cli, quantized):
    answer = cli("generate", quantized, "--prompt", "The ", "-n", 20)
    generation = awq_cpp.generate(quantized, "The ", max_new_tokens=20)
    assert (generation.text, generation.token_ids) == (answer["text"], answer["token_ids"])


def test_eight_threads_at_once_give_the_texts_of_one(quantized):
    model = awq_cpp.Model(quantized)
    alone = [model.generate(prompt, max_new_tokens=24).text for prompt in PROMPTS]
    assert len(set(alone)) == len(PROMPTS)
    together, all_at_once = [None] * len(PROMPTS), threading.Barrier(len(PROMPTS))

    def work(i):
        all_at_once.wait()
        together[i] = "".join(model.generate(PROMPTS[i], max_new_tokens=24))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(PROMPTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_two_generations_of_one_thread_interleave(model):
    first, second = model.generate(PROMPTS[0], max_new_tokens=20), model.generate(PROMPTS[1], max_new_tokens=20)
    pieces = [a + b for a, b in zip(first, second)]
    assert pieces and first.text == model.generate(PROMPTS[0], max_new_tokens=20).text


def test_dropping_a_generation_stops_it(model):
    before = time.monotonic()
    generation = model.generate("The ", max_new_tokens=2000, stop_at_eos=False)
    next(generation)
    del generation
    assert len(model.generate("A", max_new_tokens=1).token_ids) == 1
    assert time.monotonic() - before < 20
    stopped = model.generate("The ", max_new_tokens=2000, stop_at_eos=False)
    next(stopped)
    stopped.stop()
    assert len(stopped.token_ids) < 2000


def test_a_generation_keeps_its_model(demo):
    generation = awq_cpp.generate(demo, "The ", max_new_tokens=5)  # the Model is referred to by nothing else
    assert len(generation.token_ids) == 5


@pytest.mark.parametrize(
    "call",
    ["model.generate('The ', max_new_tokens=2000, stop_at_eos=False).text", "model.evaluate(text, max_windows=0)"],
)
def test_ctrl_c_ends_a_call_within_a_second(demo, call):
    code = (
        f"{INTERRUPTIBLE}import awq_cpp; model = awq_cpp.Model({demo!r}); text = {TEXT!r} * 20000\n"
        "print('go', flush=True)\n"
        f"while True: {call}"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "go\n"
    time.sleep(0.3)
    before = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr
    assert time.monotonic() - before < 5  # one window of evaluate() on a loaded machine


def test_perplexity_is_that_of_the_command_line(cli, demo, model, quantized, text_file):
    answer = cli("eval", quantized, "--text", text_file, "--against", demo, "--window", 64, "--max-windows", 8)
    report = awq_cpp.evaluate(quantized, awq_cpp.read_text(text_file), against=model, window=64, max_windows=8)
    for name in ("perplexity", "kl", "top1_agreement", "windows"):
        assert getattr(report, name) == answer[name], name
    assert "perplexity" in repr(report)


def test_evaluate_tells_its_progress(model):
    seen = []
    model.evaluate(TEXT * 20, window=32, max_windows=8, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)


def test_knows_its_device(model, demo):
    assert model.device in ("cpu", "cuda:0") and awq_cpp.Model(demo, device="cpu").device == "cpu"


def test_encode_and_decode(model):
    ids = model.encode("Ein Straßenname, naïve ☕")
    assert model.decode(ids) == "Ein Straßenname, naïve ☕"


@pytest.mark.parametrize(
    ("act", "kind", "words"),
    [
        (lambda m: m.generate([99999], max_new_tokens=1).text, awq_cpp.BadInputError, "99999"),
        (lambda m: m.evaluate("short"), awq_cpp.BadInputError, "one window needs 512"),
        (lambda m: m.evaluate(TEXT, window=1), awq_cpp.UsageError, "a window of 1 tokens"),
        (lambda m: m.evaluate(TEXT, window=8, against=m), awq_cpp.UsageError, "load it twice"),
        (lambda m: next(iter(m.generate([1] * 3000))), awq_cpp.BadInputError, "exceeds the 2048"),
    ],
)
def test_refusals(model, act, kind, words):
    with pytest.raises(kind, match=words):
        act(model)


def test_bench_times_every_version(quantized):
    rows = awq_cpp.bench(quantized, prompt=16, generate=4, repeat=2)
    assert [row.version for row in rows] == ["gemv", "gemm", "auto"]
    for row in rows:
        assert row.refusal == "" and len(row.first_token_seconds) == 2 and len(row.token_seconds) == 6
        assert (
            row.tokens_per_second > 0
            and row.first_token > 0
            and row.token_percentile(0.99) >= row.token_percentile(0.5)
        )
    assert "gemv_w4a16" in rows[0].kernels and "gemm_w4a16" in rows[1].kernels
