#!/usr/bin/env python3
"""Which kernel version a linear gets, GEMV or GEMM: on this machine, and on cards that are not here.

examples/python/choose_kernel.py --n 11008 --k 4096
"""

import argparse

import awq_cpp

TOKENS = (1, 8, 16, 32, 128, 512)
CARDS = {
    "7.5": "T4, RTX 20",
    "8.0": "A100",
    "8.6": "RTX 30",
    "8.9": "RTX 40, L4",
    "9.0": "H100, H200",
    "12.0": "RTX 50",
}


def row(name, device, n, k):
    chosen = [awq_cpp.select_kernel(device, m=m, n=n, k=k) for m in TOKENS]
    print(
        f"{name:<28}"
        + "".join(f"{kernel.split('_')[0]:>7}" for kernel in chosen)
        + f"   {', '.join(dict.fromkeys(chosen))}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4096, help="output features")
    parser.add_argument("--k", type=int, default=4096, help="input features")
    arguments = parser.parse_args()

    print(f"{'tokens at once':<28}" + "".join(f"{m:>7}" for m in TOKENS))
    for device in awq_cpp.devices():
        if device.unusable:
            print(f"{device.name}: {device.unusable}")
        else:
            row(device.name[:27], device, arguments.n, arguments.k)
    for capability, cards in CARDS.items():
        row(f"{capability} ({cards})", capability, arguments.n, arguments.k)

    # A version that the hardware cannot run is refused with what it needs and what to take instead.
    try:
        awq_cpp.select_kernel("8.6", "gemm_w4a16_wgmma_sm90a")
    except awq_cpp.DeviceError as refusal:
        print(refusal)


if __name__ == "__main__":
    main()
