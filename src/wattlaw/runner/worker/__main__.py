"""One rank of a trial: ``python -m wattlaw.runner.worker spec.json``.

RANK, LOCAL_RANK and WORLD_SIZE come from the environment, as torchrun, Slurm or wattlaw's launchers
set them. An error is written to ``error-<rank>.json`` beside the steps.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from wattlaw.core.errors import TrialError, WattlawError
from wattlaw.core.files import write_whole
from wattlaw.runner.rank_spec import RankAnswer, RankSpec, read_rank_spec, write_answer

if TYPE_CHECKING:
    import torch


def main(path: str) -> NoReturn:
    """Carry out one rank and end this process with its exit code."""
    # the runner sends this at the time limit, to find out where the rank hangs
    faulthandler.register(signal.SIGUSR1)
    # Slurm has its own names for these
    rank = int(os.environ.setdefault("RANK", os.environ.get("SLURM_PROCID", "0")))
    os.environ.setdefault("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    os.environ.setdefault("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))
    spec = read_rank_spec(Path(path))
    folder = Path(spec.folder)
    try:
        work(spec, folder, rank)
    except BaseException as error:  # the process ends here
        text = traceback.format_exc()
        if isinstance(error, WattlawError):
            text = f"{error}\n"
        report = {"rank": rank, "time_s": time.monotonic(), "text": text}
        write_whole(folder / f"error-{rank}.json", msgspec.json.encode(report))
        sys.stderr.write(text)
        _leave(1)
    _leave(0)


def _leave(code: int) -> NoReturn:
    # all files are closed. An ordinary exit would wait for ranks that are inside a collective, and
    # threads of the communication back-end sometimes abort it after the work is done
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def work(spec: RankSpec, folder: Path, rank: int) -> None:
    """Train as the spec says; write steps and an answer into ``folder``."""
    import torch
    import torch.distributed as dist

    from wattlaw.core.options import workload_options
    from wattlaw.measuring.files.rank_files import StepLog
    from wattlaw.runner.worker.device_timer import clock_for
    from wattlaw.runner.worker.loop import Loop
    from wattlaw.runner.worker.user_class import workload_of

    setting = spec.setting
    torch.set_num_threads(spec.threads)
    torch.set_float32_matmul_precision("high" if setting.precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = setting.precision == "tf32"
    device = _device(spec)
    ranks = int(os.environ["WORLD_SIZE"])
    if ranks > 1:
        where = os.environ.get("WATTLAW_RENDEZVOUS", "env://")
        # NCCL then connects immediately, and its barrier knows its device
        own = device if spec.backend == "nccl" else None
        dist.init_process_group(
            spec.backend, init_method=where, rank=rank, world_size=ranks, device_id=own
        )
    workload = workload_of(setting.workload, setting.preset, workload_options(setting))
    with StepLog(folder, rank) as log:
        loop = Loop(setting, workload, device, clock_for(device), log, folder)
        loop.train(Path(spec.resume) if spec.resume else None)
    peak = None
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    write_answer(folder, rank, RankAnswer(gpu_memory_peak_bytes=peak, notes=tuple(workload.notes)))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _device(spec: RankSpec) -> torch.device:
    import torch

    if spec.device_type == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrialError(
            f"this torch ({torch.__version__}) sees no GPU; use --device-type cpu, or install "
            "a torch with GPU support"
        )
    local, visible = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    # a scheduler may show each task only its own GPU
    index = local if visible > 1 else 0
    if index >= visible:
        raise TrialError(
            f"rank {local} of this host has no GPU: {visible} are visible; use fewer devices"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


if __name__ == "__main__":
    main(sys.argv[1])
