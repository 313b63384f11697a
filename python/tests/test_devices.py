import awq_cpp
import pytest


def test_the_cpu_comes_first():
    first = awq_cpp.devices()[0]
    assert (first.kind, first.label, first.unusable) == ("cpu", "cpu", "")
    assert first.compute_units >= 1 and first.memory_bytes > 0
    assert "cpu" in repr(first)


def test_gpus_are_listed_or_the_reason_why_not():
    for device in awq_cpp.devices()[1:]:
        assert device.kind == "cuda"
        assert device.index >= 0 or device.unusable


@pytest.mark.parametrize(
    ("capability", "version", "m", "kernel"),
    [
        ("8.6", "auto", 1, "gemv_w4a16_mma_sm80"),
        ("8.6", "auto", 512, "gemm_w4a16_mma_sm80"),
        ("sm_75", "GEMM", 1, "gemm_w4a16_mma_sm75"),
        ("9.0", "gemm", 512, "gemm_w4a16_wgmma_sm90a"),
    ],
)
def test_chooses_for_cards_that_are_not_here(capability, version, m, kernel):
    assert awq_cpp.select_kernel(capability, version, m=m) == kernel


def test_chooses_by_the_number_of_tokens():
    cpu = awq_cpp.devices()[0]
    assert awq_cpp.select_kernel(cpu, m=1).startswith("gemv_")
    assert awq_cpp.select_kernel("cpu", m=512).startswith("gemm_")
    status = awq_cpp.kernel_status(cpu, m=1)
    assert any(row.usable for row in status) and {row.family for row in status} == {"gemm", "gemv"}


def test_a_version_that_the_hardware_cannot_run_is_a_runtime_error():
    with pytest.raises(RuntimeError, match="^Kernel version not supported on this hardware: ") as caught:
        awq_cpp.select_kernel("8.6", "gemm_w4a16_wgmma_sm90a")
    assert caught.value.exit_code == 5
    assert "compute capability 9.0, this device has 8.6; use gem" in str(caught.value)


@pytest.mark.parametrize(
    ("device", "version", "kind"),
    [
        ("cpu", "marlin", awq_cpp.UsageError),
        ("toaster", "auto", awq_cpp.UsageError),
        ("cuda:9", "auto", awq_cpp.DeviceError),
    ],
)
def test_nonsense_is_refused(device, version, kind):
    with pytest.raises(kind):
        awq_cpp.select_kernel(device, version)
