import awq_cpp


def get_best_device() -> str:
    """'cuda:0' where a GPU can be used, else 'cpu'."""
    usable = [device for device in awq_cpp.devices() if device.kind == "cuda" and not device.unusable]
    return usable[0].label if usable else "cpu"
