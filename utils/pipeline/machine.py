"""What a stage needs of the machine that it is about to run on: packages, and a GPU. Found before the first stage runs."""

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Optional

from utils.core.errors import UserError
from utils.pipeline import config as configuration
from utils.pipeline.stages import Plan


def check_machine(plan: Plan, device: str) -> None:
    """Raise UserError where a stage that is about to run needs what this machine or `device` does not have."""
    stage, config = plan.stage, configuration.view(plan.config)
    module = stage.module or stage.name
    for problem in (_device_problem(module, config, device), _package_problem(module, config)):
        if problem:
            raise UserError(f"stage {stage.number} {stage.name}: {problem}")


def _device_problem(module: str, config: SimpleNamespace, device: str) -> Optional[str]:
    if device != "cpu":
        return None
    if module == "train" and config.train.precision == "fp16":
        return "train.precision=fp16 needs a GPU (--device cuda); on cpu set train.precision=fp32 or bf16"
    for group in ("features", "ready"):
        if module != {"features": "features", "ready": "decode_ready"}[group]:
            continue
        chosen = getattr(config, group)
        whisper = config.system == "whisper" if group == "ready" else chosen.front_end == "whisper"
        if whisper and "float16" in chosen.compute_type:
            return f"{group}.compute_type={chosen.compute_type} needs a GPU (--device cuda); on cpu set {group}.compute_type=int8"
    return None


def _package_problem(module: str, config: SimpleNamespace) -> Optional[str]:
    if module in ("features", "synthesise") and config.features.denoise == "noisereduce" and not _installed("noisereduce"):
        return "features.denoise=noisereduce needs the package noisereduce: install it, or set features.denoise=none"
    if module == "vectors" and config.vectors.meaning.mode == "context" and not _installed("transformers"):
        return (
            "vectors.meaning.mode=context needs the package transformers: install it (.venv/bin/python -m pip install -r "
            "utils/requirements/transformers.txt), or set vectors.meaning.mode=table"
        )
    if module == "train" and config.loss.backend == "k2" and not _installed("k2"):
        return "loss.backend=k2 needs k2, which is not installed: set loss.backend=torch to train without it"
    if module == "train" and config.loss.grounding.weight and not _installed("k2"):
        return "loss.grounding.weight needs k2, which is not installed, for alignments: set it to 0"
    if module in ("decode", "rescore") and not _installed("k2"):
        return (
            "lattices need k2, which is not installed: stop before (--stop-stage train), and decode on a machine that has a wheel"
        )
    return None


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # sys.modules has None for it
        return False
