"""Small records of other tools."""

from __future__ import annotations

import json


def event(key, value=None, ms=0, **metadata):
    return ":::MLLOG " + json.dumps(
        {"time_ms": ms, "key": key, "value": value, "metadata": metadata}
    )


LOG = "\n".join(
    [
        event("submission_benchmark", "resnet"),
        event("submission_org", "Someone"),
        event("global_batch_size", 3200),
        "0: " + event("run_start", ms=1_000_000),
        "a line that is no event",
        event("tracked_stats", {"throughput": 60_000.0}),
        event("eval_stop", ms=1_500_000, epoch_num=35),
        event("run_stop", ms=1_800_000, status="success", epoch_num=35),
    ]
)


SYSTEM = json.dumps(
    {"number_of_nodes": "1", "accelerators_per_node": "8", "accelerator_model_name": "H100"}
)


POWER = "\n".join(
    [event("conversion_eff", 0.9, measurement_type="AC")]
    + [event("power_reading", 1000.0 + t, ms=1000 * t) for t in range(990, 1811)]
)


SMI = """timestamp, index, name, power.draw [W], utilization.gpu [%], memory.used [MiB], temperature.gpu
2024/01/01 10:00:00.000, 0, Tesla V100, 100.00 W, 50 %, 1000 MiB, 40
2024/01/01 10:00:00.000, 1, Tesla V100, 200.00 W, 70 %, 1000 MiB, 50
2024/01/01 10:00:10.000, 0, Tesla V100, 200.00 W, 60 %, 2000 MiB, 41
2024/01/01 10:00:10.000, 1, Tesla V100, [N/A], 60 %, 2000 MiB, 41
2024/01/01 10:00:20.000, 1, Tesla V100, 200.00 W, 60 %, 2000 MiB, 41
"""


DMON = """# gpu   pwr gtemp mtemp    sm   mem   enc   dec
# Idx     W     C     C     %     %     %     %
    0    50    40     -    10     0     0     0
    0    70    40     -    30     0     0     0
    0    50    40     -    10     0     0     0
"""


CARBON = """timestamp,project_name,run_id,duration,cpu_energy,gpu_energy,ram_energy,gpu_count
2024-01-01T10:00:00,bert,a1,100.0,0.001,0.002,0,2
2024-01-01T10:00:00,bert,a2,-1,0.001,0.002,0,2
"""


SACCT = """JobID|JobName|State|ElapsedRaw|NNodes|AllocTRES|ConsumedEnergyRaw|Partition
7|train|COMPLETED|3600|2|billing=8,cpu=8,gres/gpu:volta=4,gres/gpu=4,node=2|5000000|gpu
7.batch|batch|COMPLETED|3600|1|cpu=4,node=1||
8|train|FAILED|60|1|cpu=4,node=1|18446744073709551614|gpu
"""


SACCT_JSON = json.dumps(
    {"jobs": [{"job_id": 9, "name": "train", "state": {"current": ["COMPLETED"]}, "time": {"elapsed": 100, "start": 5},
               "allocation_nodes": 1, "partition": "gpu",
               "tres": {"allocated": [{"type": "gres", "name": "gpu", "count": 2},
                                      {"type": "energy", "name": "", "count": 500}]}}]}
)  # fmt: skip


LIGHTNING = "train_loss_step,epoch,step,val_loss\n73.3,0,0,\n70.1,0,1,\n,0,1,60.0\n65.0,1,2,\n"


ZEUS = """dataset,network,batch_size,optimizer,power_limit,time_per_epoch,average_power
cifar100,shufflenetv2,1024,adadelta,125,10.0,108.0
cifar100,shufflenetv2,1024,adadelta,150,9.0,130.0
"""


WINDOWS = "start_time,window_name,elapsed_time,gpu0_energy,gpu1_energy\n1.0,__Optimizer_250,10.0,1000.0,1200.0\n"


MLPERF_TABLE = (
    "round,submitter,benchmark,accelerator,nodes,accelerators_per_node,global_batch_size,run_seconds,status,"
    "last_eval_epoch\nv3.0,Dell,resnet,A100,1,8,1632,2000.0,success,35\nv3.0,Dell,resnet,A100,1,x,1632,2000.0,success,35\n"
)


PLAIN = "gpus,seconds,joules,note\n1,10.0,500,a\n2,6.0,600,b\n2,six,600,b\n"


SOURCES = {
    "mlperf": ("table.csv", MLPERF_TABLE),
    "zeus": ("summary_power_v100.csv", ZEUS),
    "nvidia-smi": ("smi.csv", SMI),
    "lightning": ("metrics.csv", LIGHTNING),
    "codecarbon": ("emissions.csv", CARBON),
    "sacct": ("sacct.txt", SACCT),
    "csv": ("plain.csv", PLAIN),
}


COLUMNS = {"devices": "gpus", "elapsed_s": "seconds", "gpu_energy_j": "joules"}


def results(folder, log=LOG, power=POWER):
    """Write a results folder in the layout of MLPerf."""
    home = folder / "training_results_v4.1"
    for name, text in {
        "Someone/systems/box.json": SYSTEM,
        "Someone/results/box/resnet/result_0.txt": log,
        "Someone/results/box/resnet/power/result_0/node_0.txt": power,
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return home
