"""The device that was asked for: whether torch can use it, and how much of its memory was used."""

from typing import Dict

from utils.core.errors import UserError


def check_device(name: str) -> None:
    """Raise UserError, with a remedy, where torch cannot use the device `name` (cpu, cuda, cuda:1)."""
    if name == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"--device {name}: torch {torch.__version__} finds no GPU that it can use; see python -m steps.doctor")
    index, count = int(name.partition(":")[2] or 0), torch.cuda.device_count()
    if index >= count:
        raise UserError(f"--device {name}: there are {count} GPUs, counted from 0")
    trouble = gpu_trouble(index)
    if trouble:
        raise UserError(f"--device {name}: {trouble}")


def gpu_trouble(index: int) -> str:
    """Why torch has no code for a GPU that it sees, and the remedy; '' where it has."""
    import torch

    major, minor = torch.cuda.get_device_capability(index)
    for arch in torch.cuda.get_arch_list():  # sm_86: code for 8.6 and later 8.x; compute_86: also compiled for anything later
        kind, digits = arch.rstrip("af").split("_")
        built = (int(digits[:-1]), int(digits[-1]))
        if built <= (major, minor) and (kind == "compute" or built[0] == major):
            return ""
    return (
        f"torch {torch.__version__} has no code for {torch.cuda.get_device_name(index)} (compute capability {major}.{minor}); "
        "install the modern stack: utils/setup.sh --modern"
    )


def gpu_memory(device: str) -> Dict[str, int]:
    """{"peak_gpu_memory_mb": ...} of this process; {} on a CPU."""
    if device == "cpu":
        return {}
    from utils.core.memory import gpu_peak  # imports torch

    return {"peak_gpu_memory_mb": gpu_peak(device)}
