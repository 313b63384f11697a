"""tools/gpu_measure: verdicts on results that are made up, and memory that is watched, without a GPU."""

import copy
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).parents[2] / "tools/gpu_measure"


def imported(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verdicts = imported("verdicts")
watch_memory = imported("watch_memory")


def quantized(blocks=32, scale=1.0):
    stages = [
        {"track": "compute", "stage": stage, "seconds": scale * s}
        for stage, s in (
            ("load", 0.3),
            ("calibrate", 2.6),
            ("search", 4.8),
            ("clip", 0.6),
            ("pack", 0.7),
            ("wait for writing", 90),
        )
    ]
    linears = [{"name": f"l{i}", "chosen": "paper 0.5", "loss": 1.0} for i in range(7)]
    return {"seconds": 10.5 * scale, "stages": stages, "linears": linears, "blocks": blocks, "streams_linears": False}


def trace(blocks, seconds):
    return {
        "traceEvents": [
            {"ph": "X", "name": "load", "ts": b * seconds * 1e6, "dur": 1, "args": {"block": b}} for b in range(blocks)
        ]
    }


def cell(prompt, batch, share=0.62, rate=500.0, fp16=0.6):
    return {
        "version": "auto",
        "prompt_tokens": prompt,
        "batch": batch,
        "share_of_roofline": share,
        "token_p50": 0.00175,
        "tokens_per_second": rate * batch * 0.75,
        "prompt_share_of_fp16": fp16,
        "first_token_seconds": [0.05],
    }


def choice(batch, excess=0.01):
    weighed = {"auto_excess": excess}
    return {"batch": batch, "first_token": weighed, "token": weighed, "auto_within_tolerance": excess <= 0.03}


MEMORY = {
    "exit_code": 0,
    "host_peak_bytes": 2e9,
    "gpu_peak_mib": 4577,
    "host_growth_bytes": 1 << 20,
    "gpu_growth_mib": 0,
    "output_seconds": 20.0,
}
STEPS = ("loop", "lose", "kill9", "smallcard", "batches", "sanitizer")


def good_answers():
    decode = {"versions": [cell(512, 1), cell(512, 16), cell(2048, 1)]}
    answers = {
        "decode8b": decode,
        "decode7b": decode,
        "versions8b": {"best_forced": [choice(b) for b in (1, 8, 64)]},
        "memory-memory": MEMORY,
        "llama3-70b": quantized(8),
        "llama3-70b-memory": MEMORY,
        "llama3-70b-trace": trace(8, 1.3),
    }
    for name in ("llama2-7b", "llama3-8b"):
        answers |= {name: quantized(), f"{name}-memory": MEMORY}
    for one in ("cpu", "cuda"):
        answers[f"accuracy-quantize-{one}"] = quantized()
        answers |= {f"accuracy-{one}-{other}": {"perplexity": 31.5} for other in ("cpu", "cuda")}
        answers |= {f"greedy-{model}-{one}": {"token_ids": [1, 2, 3]} for model in ("demo", "trained")}
    return answers


class Verdicts(unittest.TestCase):
    def judged(self, answers, codes=None):
        with tempfile.TemporaryDirectory() as folder:
            for name, answer in answers.items():
                (pathlib.Path(folder) / f"{name}.json").write_text(json.dumps(answer))
            for step, code in (codes or {step: 0 for step in STEPS}).items():
                (pathlib.Path(folder) / f"{step}.status").write_text(f"{code} 12")
            return {demand: (figure, holds) for demand, figure, holds in verdicts.verdicts(folder)}

    def failing(self, answers, codes=None):
        return [demand for demand, (_, holds) in self.judged(answers, codes).items() if holds is False]

    def test_all_demands_can_hold(self):
        self.assertTrue(all(holds for _, holds in self.judged(good_answers()).values()))

    def test_nothing_measured_is_no_verdict(self):
        self.assertTrue(all(holds is None for _, holds in self.judged({}, {"none": 0}).values()))

    def test_an_answer_that_is_an_error_is_no_verdict(self):
        answers = {name: {"error": "no"} for name in good_answers()}
        self.assertTrue(all(holds is None for _, holds in self.judged(answers, {"none": 0}).values()))

    def test_each_figure_can_fail_its_line(self):
        def changed(name, *path_and_value):
            answers = copy.deepcopy(good_answers())
            *path, last, value = path_and_value
            at = answers[name]
            for key in path:
                at = at[key]
            at[last] = value
            return answers

        cases = [
            ("roofline", changed("decode8b", "versions", 0, "share_of_roofline", 0.59)),
            ("batch 16", changed("decode8b", "versions", 1, "tokens_per_second", 3000)),
            ("prompt of 2048", changed("decode8b", "versions", 2, "prompt_share_of_fp16", 0.49)),
            ("auto", changed("versions8b", "best_forced", [choice(1), choice(8, 0.031)])),
            ("memory growth", changed("memory-memory", "gpu_growth_mib", 2)),
            ("memory growth", changed("memory-memory", "host_growth_bytes", 9 << 20)),
            ("llama2-7b: <= 25 s", changed("llama2-7b", "seconds", 25.1)),
            ("llama2-7b: <= 25 s", changed("llama2-7b", "stages", 2, "seconds", 9)),
            ("llama2-7b: <= 25 s", changed("llama2-7b-memory", "host_peak_bytes", 6.1e9)),
            ("llama2-7b: <= 25 s", changed("llama2-7b-memory", "gpu_peak_mib", 16000)),
            ("llama3-70b", good_answers() | {"llama3-70b-trace": trace(8, 3.3)}),
            (
                "within 1e-4",
                changed("accuracy-quantize-cuda", "linears", 2, {"name": "l2", "chosen": "paper 0.55", "loss": 1.001}),
            ),
            ("perplexities", changed("accuracy-cuda-cpu", "perplexity", 31.52)),
            ("greedy", changed("greedy-demo-cuda", "token_ids", [1, 2, 4])),
        ]
        for words, answers in cases:
            failing = self.failing(answers)
            self.assertTrue(len(failing) == 1 and words in failing[0] or words in " ".join(failing), (words, failing))

    def test_a_choice_of_nearly_equal_loss_is_the_same(self):
        answers = good_answers()
        answers["accuracy-quantize-cuda"]["linears"][2] = {"name": "l2", "chosen": "paper 0.55", "loss": 1.00005}
        self.assertEqual(self.failing(answers), [])

    def test_a_step_that_failed_and_one_that_was_skipped(self):
        self.assertEqual(len(self.failing(good_answers(), dict.fromkeys(STEPS, 0) | {"lose": 1})), 1)
        judged = self.judged(good_answers(), dict.fromkeys(STEPS, 0) | {"lose": 77})
        self.assertEqual([holds for _, holds in judged.values()].count(None), 1)

    def test_the_projection_is_from_block_to_block(self):
        figure, holds = self.judged(good_answers())[verdicts.LINES[-1][0]]
        self.assertIn("104 s for 80 blocks", figure)  # 10.5 s and 72 times 1.3 s
        self.assertTrue(holds)


class WatchMemory(unittest.TestCase):
    def watched(self, program):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "seen.json"
            run = subprocess.run(
                [sys.executable, TOOLS / "watch_memory.py", str(out), sys.executable, "-c", program],
                capture_output=True,
                text=True,
                check=False,
            )
            return run, json.loads(out.read_text())

    def test_growth_is_between_the_first_output_and_the_last(self):
        samples = [(1, 1.1, 10), (2, 2.1, 60), (3, 3.1, 61), (4, 4.1, 64), (4.4, 5, 20)]
        self.assertEqual(watch_memory.growth(samples, 1.5, 4.5), 4)
        self.assertEqual(watch_memory.growth(samples, 2.5, 4.5), 3)
        self.assertIsNone(watch_memory.growth(samples, 3.5, 4.5), "one sample says nothing of growth")

    def test_what_a_program_takes_is_seen(self):
        # A second and a half is fifteen samples; a busy machine leaves two of them.
        run, seen = self.watched(
            "import time; a = bytearray(b'1' * (64 << 20)); print('x', flush=True); time.sleep(1.5);"
            "b = bytearray(b'1' * (32 << 20)); time.sleep(1.5); print('y', flush=True)"
        )
        self.assertEqual((run.returncode, run.stdout), (0, "x\ny\n"))
        self.assertGreater(seen["host_peak_bytes"], 96 << 20)
        self.assertAlmostEqual(seen["host_growth_bytes"] / (1 << 20), 32, delta=2)

    def test_the_exit_code_is_the_commands(self):
        run, seen = self.watched("raise SystemExit(5)")
        self.assertEqual((run.returncode, seen["exit_code"]), (5, 5))


unittest.main()
