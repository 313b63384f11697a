"""tools/count_cuda_calls/token_loop_calls.py on counts that are made up."""

import importlib.util
import pathlib
import unittest

SCRIPT = pathlib.Path(__file__).parents[2] / "tools/count_cuda_calls/token_loop_calls.py"
spec = importlib.util.spec_from_file_location("token_loop_calls", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


def report(steps=199, **more):
    """A loop as it should be: setting the device is free, what comes before the loop is not of it."""
    in_loop = {"cudaGraphLaunch_v10000": steps, "cudaStreamSynchronize_v3020": steps, "cudaSetDevice_v3020": 2 * steps}
    in_loop.update(more)
    runtime = {name: {"calls": count + 1, "in_loop": count} for name, count in in_loop.items()}
    runtime["cudaMalloc_v3020"] = {"calls": 200, "in_loop": runtime.get("cudaMalloc_v3020", {"in_loop": 0})["in_loop"]}
    driver = {
        "cuGraphLaunch": {"calls": steps + 1, "in_loop": steps},
        "cuStreamSynchronize_ptsz": {"calls": steps, "in_loop": steps},
    }
    return {"runtime": runtime, "driver": driver, "steps": steps}


class Judge(unittest.TestCase):
    def test_one_launch_and_one_wait_a_token(self):
        self.assertEqual(script.judge(report()), 0)

    def test_any_other_work_is_found(self):
        for name in (
            "cudaMalloc_v3020",
            "cudaMemcpyAsync_v3020",
            "cudaMemsetAsync_v3020",
            "cudaEventSynchronize_v3020",
            "cudaLaunchKernelExC_v11060",
            "cudaFree_v3020",
            "cudaHostAlloc_v3020",
            "cudaStreamWaitEvent_v3020",
            "cudaGraphInstantiate_v12000",
        ):
            self.assertEqual(script.judge(report(**{name: 1})), 1, name)

    def test_two_waits_a_token_are_one_too_many(self):
        self.assertEqual(script.judge(report(cudaStreamSynchronize_v3020=398)), 1)

    def test_a_token_may_be_seen_without_a_wait(self):
        silent = report(cudaStreamSynchronize_v3020=0)
        del silent["driver"]["cuStreamSynchronize_ptsz"]
        self.assertEqual(script.judge(silent), 0)

    def test_a_wait_now_and_then_is_found(self):
        self.assertEqual(script.judge(report(cudaStreamSynchronize_v3020=3)), 1)

    def test_a_wait_without_a_launch_is_not_a_step(self):
        idle = report(cudaGraphLaunch_v10000=0)
        del idle["driver"]["cuGraphLaunch"]
        self.assertEqual(script.judge(idle), 1)

    def test_one_interface_is_enough(self):
        alone = report()
        alone["driver"] = {}
        self.assertEqual(script.judge(alone), 0)

    def test_no_loop_is_no_answer(self):
        self.assertEqual(script.judge(report(steps=0)), 77)

    def test_versions_and_streams_are_one_name(self):
        self.assertEqual(script.plain_name("cudaGraphLaunch_ptsz_v10000"), "cudaGraphLaunch")
        self.assertEqual(script.plain_name("cuMemAlloc_v2"), "cuMemAlloc")
        self.assertEqual(script.plain_name("cuLaunchKernelEx_ptsz"), "cuLaunchKernelEx")


unittest.main()
