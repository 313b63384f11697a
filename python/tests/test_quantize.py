import signal
import subprocess
import sys
import threading
import time

import awq_cpp
import pytest
from conftest import DEMO, INTERRUPTIBLE, contents

QUICK = {"samples": 8, "seqlen": 128}


def test_bytes_are_those_of_the_command_line(cli, demo, quantized, text_file, tmp_path):
    cli("quantize", demo, tmp_path / "cli", "--calib", text_file, "--samples", 8, "--seqlen", 128)
    assert contents(quantized) == contents(tmp_path / "cli")


def test_every_option_reaches_the_library(cli, demo, text_file, tmp_path):
    awq_cpp.quantize(
        demo,
        tmp_path / "py",
        calib=[text_file],
        group_size=64,
        zero_point=False,
        version="GEMV",
        modules_to_not_convert=["down_proj"],
        keep_fp16=0.01,
        salient_by="random",
        max_shard_bytes=2 << 20,
        search="paper",
        objective="module",
        clip=False,
        seed=7,
        threads=1,
        work_dir=tmp_path / "work",
        **QUICK,
    )
    cli(
        "quantize",
        demo,
        tmp_path / "cli",
        "--calib",
        text_file,
        "--samples",
        8,
        "--seqlen",
        128,
        "--group-size",
        64,
        "--sym",
        "--version",
        "gemv",
        "--modules-to-not-convert",
        "down_proj",
        "--keep-fp16",
        "1%",
        "--salient-by",
        "random",
        "--max-shard-size",
        2 << 20,
        "--search",
        "paper",
        "--objective",
        "module",
        "--no-clip",
        "--seed",
        7,
    )
    assert contents(tmp_path / "py") == contents(tmp_path / "cli")


def test_texts_and_tokens_are_the_same_as_a_file(demo, model, quantized, text_file, tmp_path):
    text = text_file.read_text()
    awq_cpp.quantize(demo, tmp_path / "texts", texts=[text], **QUICK)
    ids = model.encode(text, add_special_tokens=False)
    awq_cpp.quantize(demo, tmp_path / "tokens", tokens=[ids[:100], ids[100:]], **QUICK)
    assert contents(tmp_path / "texts") == contents(tmp_path / "tokens") == contents(quantized)


def test_report_and_progress(demo, tmp_path):
    seen = []
    report = awq_cpp.quantize(demo, tmp_path / "out", progress=seen.append, search="none", clip=False, **QUICK)
    assert {stage.track for stage in report.stages} >= {"compute"} and report.device.startswith(("cpu", "cuda:0"))
    assert report.tokens == 8 * 128 and len(report.linears) == 6 * 7
    assert all(linear.loss <= linear.rtn_loss for linear in report.linears)
    assert str(report.out) == str(tmp_path / "out") and "bits a weight" in repr(report)
    assert seen[-1].blocks == 6 and {p.block for p in seen} >= set(range(6))


@pytest.mark.parametrize("version", ["compressed-tensors", "gemv"])
def test_other_layouts(cli, demo, text_file, tmp_path, version):
    report = awq_cpp.quantize(demo, tmp_path / "py", calib=text_file, version=version, **QUICK)
    cli("quantize", demo, tmp_path / "cli", "--calib", text_file, "--samples", 8, "--seqlen", 128, "--format", version)
    assert contents(tmp_path / "py") == contents(tmp_path / "cli")
    assert any("vLLM" in sentence for sentence in report.warnings) == (version == "gemv")
    assert awq_cpp.Model(tmp_path / "py").generate("The ", max_new_tokens=2).text


def test_device_and_trace(demo, tmp_path):
    trace = tmp_path / "trace.json"
    report = awq_cpp.quantize(demo, tmp_path / "out", device="cpu", gpu_memory=2**30, trace=trace, **QUICK)
    assert report.planned_device_bytes == 0 and not report.streams_linears
    assert report.device.startswith("cpu") and "calibrate" in trace.read_text()
    with pytest.raises(awq_cpp.DeviceError):
        awq_cpp.quantize(demo, tmp_path / "other", device="cuda:77", **QUICK)


def test_dry_run_writes_nothing(demo, tmp_path):
    report = awq_cpp.quantize(demo, tmp_path / "out", dry_run=True)
    assert report.planned_memory_bytes > 0 and report.planned_disk_bytes > 0
    assert not list(tmp_path.iterdir())


def test_an_exception_in_progress_stops_and_resume_continues(demo, quantized, text_file, tmp_path):
    def stop_in_block_3(progress):
        if progress.block == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="^enough$"):
        awq_cpp.quantize(demo, tmp_path / "out", calib=text_file, progress=stop_in_block_3, **QUICK)
    assert not (tmp_path / "out").exists()
    awq_cpp.quantize(demo, tmp_path / "out", calib=text_file, resume=True, **QUICK)
    assert contents(tmp_path / "out") == contents(quantized)


def test_ctrl_c_stops_cleanly_and_resume_continues(demo, quantized, text_file, tmp_path):
    code = (
        f"{INTERRUPTIBLE}import awq_cpp\n"
        f"awq_cpp.quantize({demo!r}, {str(tmp_path / 'out')!r}, calib={str(text_file)!r}, samples=8, seqlen=128,\n"
        "    progress=lambda p: print(p.block, flush=True))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while child.stdout.readline().strip() != "2":
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in stderr and child.returncode != 0
    assert not (tmp_path / "out").exists()
    awq_cpp.quantize(demo, tmp_path / "out", calib=text_file, resume=True, **QUICK)
    assert contents(tmp_path / "out") == contents(quantized)


def test_other_threads_run_meanwhile(demo, tmp_path):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(1)
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    awq_cpp.quantize(demo, tmp_path / "out", **QUICK)
    done.set()
    thread.join()
    assert len(ticks) >= 10  # one or two where the GIL is held throughout


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"bits": 3}, awq_cpp.UsageError, "bits = 3"),
        ({"version": "marlin"}, awq_cpp.UsageError, "unknown layout 'marlin'"),
        ({"search": "best"}, awq_cpp.UsageError, "unknown search 'best': choose both, duo, paper, none"),
        ({"texts": ["short"]}, awq_cpp.BadInputError, "one window needs 512"),
        ({"calib": "no/such/file.txt"}, awq_cpp.BadInputError, "file.txt"),
    ],
)
def test_refusals(demo, tmp_path, options, kind, words):
    with pytest.raises(kind, match=words):
        awq_cpp.quantize(demo, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_kept(demo, quantized):
    with pytest.raises(FileExistsError):
        awq_cpp.quantize(demo, quantized, **QUICK)


def test_convert_there_and_back(quantized, tmp_path):
    awq_cpp.convert(quantized, tmp_path / "gemv", "GEMV")
    assert awq_cpp.inspect(tmp_path / "gemv").layout == "gemv"
    awq_cpp.convert(tmp_path / "gemv", tmp_path / "gemm", "gemm")
    assert contents(tmp_path / "gemm") == contents(quantized)


def test_inspect(quantized):
    info = awq_cpp.inspect(quantized)
    assert (info.layout, info.bits, info.group_size) == ("gemm", 4, 128)
    linear = next(m for m in info.modules if m.name == "model.layers.3.mlp.down_proj")
    assert linear.quantized and linear.shape == [256, 768]
    assert DEMO.name == "demo" and 4 < info.quantized_bits_per_weight < 4.5


def test_serving_on_several_gpus_is_checked(demo, quantized, tmp_path):
    checks = awq_cpp.inspect(quantized, serve_tp=[1, 2, 64]).serving
    assert [check.gpus for check in checks] == [1, 2, 64]
    assert not checks[0].refusals and checks[2].refusals
    with pytest.raises(awq_cpp.Error):
        awq_cpp.quantize(demo, tmp_path / "out", serve_tp=[64], **QUICK)
    with pytest.raises(awq_cpp.UsageError, match="give a size, or 'auto'"):
        awq_cpp.quantize(demo, tmp_path / "out", pad_intermediate="some", **QUICK)
    assert awq_cpp.quantize(demo, tmp_path / "out", pad_intermediate=1024, dry_run=True, **QUICK).bytes_out > 0
