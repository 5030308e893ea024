"""The meaning of every named warning, and what to do about it.

A name is snake_case and is used for one thing.
"""

from __future__ import annotations

from typing import NamedTuple


class WarningText(NamedTuple):
    """What a warning means, and what to do about it."""

    meaning: str
    advice: str


WARNINGS: dict[str, WarningText] = {
    # laws, predictions and advice
    "few_repeats": WarningText(
        "With fewer than 3 repeats the run-to-run variation is poorly known: intervals "
        "are wide, missing, or based on the variation of the other settings.",
        "Run at least 3 repeats of every setting: repeats = 3 in the sweep file.",
    ),
    "one_setting": WarningText(
        "Advice compares settings, and there is only one.",
        "Sweep a second number of devices or batch size.",
    ),
    "no_probability": WarningText(
        "Without repeats, the probability that the slowdown stays within its limit is unknown.",
        "Run at least 3 repeats.",
    ),
    "not_ranked": WarningText(
        "A finished trial logged too few losses, or one that is not finite, and is not ranked.",
        "Run it longer, or lower its learning rate if its loss is not finite.",
    ),
    "only_settings_run": WarningText(
        "Settings without runs were requested as candidates, but none can be predicted from "
        "these runs.",
        "Run a second number of devices with the same batch per device, or three power "
        "caps with GPU energy.",
    ),
    "no_cost": WarningText(
        "Energy has a price, but not every run measured its energy, so no cost is computed.",
        "Set a price for device-hours only, or run again on a machine with a working meter "
        "(`wattlaw doctor`).",
    ),
    "no_energy": WarningText(
        "Not every run behind the prediction measured the energy of its GPUs, so no "
        "energy is predicted.",
        "Run those again on a machine with a working meter (`wattlaw doctor`); `wattlaw runs "
        "show` lists them.",
    ),
    "no_prediction": WarningText(
        "Some groups of runs are too few to predict this setting, and are left out.",
        "Run a second number of devices, or one nearer to the requested number.",
    ),
    "no_law": WarningText(
        "There are too few runs for a law.",
        "Two sizes give a speedup, three an exponent: add values to [over] in the sweep file.",
    ),
    "no_advice": WarningText(
        "No setting can be recommended from these runs.",
        "Run at least two settings that record their time, or name the quantity to minimise.",
    ),
    "failed_runs": WarningText(
        "Trials that failed are left out of every figure.",
        "See “What failed”; `wattlaw sweep retry` runs them again.",
    ),
    "not_compared": WarningText(
        "No setting of both folders has one of the requested quantities.",
        "See its status with `wattlaw runs show`.",
    ),
    "runs_left_out": WarningText(
        "Some runs did not record the quantity.",
        "See their status in the table of settings.",
    ),
    "weak_scaling": WarningText(
        "The batch per device is fixed, so a step on N devices does N times the work.",
        "Compare the time per sample rather than the time per step.",
    ),
    "damaged_run": WarningText(
        "A run's file is broken or half-written; the run is left out.",
        "Delete its folder and resume the sweep to run it again.",
    ),
    "faster_than_ideal": WarningText(
        "More devices cannot do more than their share of the work: the runs on fewer "
        "devices were disturbed, or were limited by the smaller memory or cache of one "
        "device.",
        "Check that the machine was steady, and run the sweep again on a quiet one.",
    ),
    "formula": WarningText(
        "No run measured the time of communication, so it is computed with the "
        "formula of a ring all-reduce.",
        "Run two devices; the prediction is then corrected by what they measure.",
    ),
    "prior": WarningText(
        "Too few of your runs measure the time of communication; it relies on published "
        "MLPerf runs.",
        "Run more device counts.",
    ),
    "unlike_energies": WarningText(
        "The two sets measured energy within different boundaries, so their energies are "
        "not compared.",
        "Compare one boundary by name, such as --columns gpu_energy_per_sample_j.",
    ),
    "several_machines": WarningText(
        "The runs of one side come from several machines, whose differences may hide the effect.",
        "Compare runs of one machine.",
    ),
    "link_taken": WarningText(
        "For some accelerators no source gives the bandwidth between the devices of a "
        "node; PCIe 4.0 x16 is assumed.",
        "Set link_bandwidth_bytes_per_s in your own table and pass it with --catalogue.",
    ),
    "one_node_scaling": WarningText(
        "Devices are assumed to scale as within one node; a network slows many small ones down.",
        "Measure two nodes before buying many.",
    ),
    "step_floor": WarningText(
        "The predicted step was shorter than any of a single node in MLPerf Training, so "
        "the shortest of those is used.",
        "Measure the workload on one device: the prediction has no launch overhead of its steps.",
    ),
    "device_power_only": WarningText(
        "Power and energy are those of the devices at their specified peak power, without "
        "hosts and cooling.",
        "Add the values of the node's manufacturer.",
    ),
    "not_measured": WarningText(
        "The figure comes from other workloads; no run of this one supports it.",
        "Correct it with your own runs: --runs DIR.",
    ),
    # imported records
    "skipped": WarningText(
        "A part of the imported files is not a run or could not be read; it is left out.",
        "See the message; `wattlaw import --json` lists all.",
    ),
    "throughput_unit": WarningText(
        "The log counts its rate in a unit other than samples, so the rate is samples over time.",
        "None needed, unless you compare with the log's own figure.",
    ),
    "throughput_disagrees": WarningText(
        "The rate in the log and samples over time differ.",
        "Read how the log counts before you compare rates.",
    ),
    "power_log": WarningText(
        "A power log could not be read or does not cover the run; its energy is missing.",
        "See the message; the run's times are valid.",
    ),
    "switch_energy": WarningText(
        "Network switches were metered too; their energy is not part of the nodes' energy.",
        "Add it for the whole system.",
    ),
    "sampling_gap": WarningText(
        "The imported log of power has a gap of more than five sampling periods.",
        "Compare such a run by its mean power; record each run in a file of its own.",
    ),
    "partly_sampled": WarningText(
        "The power of a GPU was read for less than 90 % of the imported log.",
        "The energy is a lower bound; use the mean power, or record the run again.",
    ),
    "tracker_scope": WarningText(
        "CodeCarbon counts the whole machine by default, so each of several simultaneous "
        "runs includes the others.",
        "Compare runs that had the machine to themselves.",
    ),
    # data
    "bad_records": WarningText(
        "Unusable records of the data file were left out, as --on-bad skip requests.",
        "See the message; `wattlaw data check FILE` lists all bad molecules of a file.",
    ),
    "molecule_warnings": WarningText(
        "RDKit read some molecules with warnings.",
        "Check how the named molecule was read; correct the file if that is wrong.",
    ),
    "estimated_bonds": WarningText(
        "Bonds were estimated from distances, because the data have none.",
        "Use a file with bonds, such as an SDF, if bond orders matter.",
    ),
    "generated_data": WarningText(
        "The samples are random, in the layout of real ones: time and energy are valid, "
        "the loss means nothing.",
        "Leave out data=generated to train on real data.",
    ),
    "learnt_vocabulary": WarningText(
        "The vocabulary was built from the data and differs from the published one.",
        "Install what the message names, or set vocabulary=FILE; not needed if only time "
        "and energy matter.",
    ),
    # steps
    "unstable_steps": WarningText(
        "Step times scatter or drift within a run, so their median depends on when it is taken.",
        "Close other programs, lengthen the warm-up (warmup_steps), or run more steps.",
    ),
    "few_steps": WarningText(
        "A median of so few steps can be off by chance.",
        "Run more steps: stop = { steps = 100 }.",
    ),
    "steps_smoothed": WarningText(
        "Lines of a command's output arrived together, so individual step times are unknown: "
        "no spread is given.",
        "Print and flush a line for every step, or use wattlaw.measure in the script.",
    ),
    "pattern_never_matched": WarningText(
        "The step pattern matched no line of the command's output, so no step time is known.",
        "Compare step_pattern with the lines in the message.",
    ),
    "ranks_missing": WarningText(
        "Some processes left no measured steps, so the rate counts too few samples.",
        "Look at the trial's output files; run it again.",
    ),
    "trials_side_by_side": WarningText(
        "Another trial of the sweep ran on the same devices at the same time, so that both "
        "were slower than alone.",
        "Run it again with one process, or give each process its own devices; see docs/sweeps.md.",
    ),
    "oversubscribed": WarningText(
        "There are more processes than cores: they take turns, so this is not the speedup "
        "of real devices.",
        "Run fewer processes, or request more cores.",
    ),
    # training
    "resumed": WarningText(
        "The trial was stopped and resumed from a checkpoint in a new attempt. Rates, "
        "times and energies are of the last attempt's steps; totals over all attempts "
        "have all_attempts in their name.",
        "None needed, unless you compare totals: use those of all attempts.",
    ),
    "target_not_met": WarningText(
        "The training ended before the validation metric reached the target.",
        "Allow more steps or seconds in `stop`, or choose a target that this training can meet.",
    ),
    "compiled_gradients": WarningText(
        "On one batch, before training, the gradients of the compiled model differed from "
        "those of the uncompiled model, so it learns differently. Time and energy are valid.",
        "Leave out compile, or find and rewrite the layer that the compiler gets wrong.",
    ),
    # meters
    "no_energy_meter": WarningText(
        "Nothing measures energy on this machine; energies are estimates, and advice is "
        "about time.",
        "`wattlaw doctor` says what would measure it, and which permission is missing.",
    ),
    "counter_disagrees": WarningText(
        "The device's energy counter and its sampled power give different energies.",
        "Prefer longer runs; compare `wattlaw runs show` of this trial.",
    ),
    "counter_went_back": WarningText(
        "An energy counter decreased, by a reset or an overflow; the gap was bridged.",
        "Repeat the run if it happens often.",
    ),
    "implausible_readings": WarningText(
        "A device gave values that it cannot have, such as a share above 1, an infinite or "
        "negative power, or a power far above its limit. They are left out; an energy counter "
        "that jumped is replaced by sampled power.",
        "Update the device's driver, and compare with another tool if it happens often.",
    ),
    "mirrored_counter": WarningText(
        "Two devices, such as two dies of a package, show one energy counter; it is counted once.",
        "Nothing: the energy is that of both together.",
    ),
    "window_short": WarningText(
        "The measured window is short compared with the update period of the device's readings.",
        "Run more steps, so that the window lasts seconds.",
    ),
    "device_lost": WarningText(
        "A device stopped answering before the window ended.",
        "Look at the driver's log; its energy for this run is too small or missing.",
    ),
    "throttled": WarningText(
        "Heat or a power brake reduced the device's clocks.",
        "Cool it, or set a cap on purpose, and run again.",
    ),
    "other_process_on_device": WarningText(
        "Another process used the device; time and energy are shared with it.",
        "Run on a device of your own.",
    ),
    "gpu_shared": WarningText(
        "The GPU is divided into MIG instances, and its one power meter includes the "
        "other instances.",
        "Use its energy as an upper bound, or run where the job has the whole GPU.",
    ),
    "gpu_order_unknown": WarningText(
        "The GPUs differ and are named by number, and CUDA may number them in another "
        "order than the driver: the readings may be of another GPU.",
        "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPUs by UUID.",
    ),
    "clock_jump": WarningText(
        "The machine's UTC clock was set during the run; durations use another clock and "
        "are valid.",
        "None needed, unless you compare with logs of other machines.",
    ),
    "clocks_not_compared": WarningText(
        "The clocks of two hosts could not be compared closely enough, so the energy of a "
        "step may be that of the moment before or after on the other host.",
        "Let the nodes reach each other by TCP, or synchronise their UTC (NTP).",
    ),
    "sampler_lost": WarningText(
        "The process that reads the meters stopped or never ran on a host.",
        "Energy and utilisation of that host are incomplete; run the trial again.",
    ),
    "clock_not_as_asked": WarningText(
        "A clock was requested from Slurm, but the device ran at a different one.",
        "Ask the operators whether --gpu-freq is allowed (gpu/nvml plug-in), or choose a "
        "clock that the device supports.",
    ),
    "clock_not_read_back": WarningText(
        "A clock was requested from Slurm, but nothing reports whether it was in force.",
        "Look at the sampled clocks before you compare clocks; run again on GPUs whose "
        "driver reports them.",
    ),
    "gpus_unread": WarningText(
        "The process that reads the meters saw only some of the job's GPUs, so their "
        "total energy is missing.",
        "Start `wattlaw measure -- srun CMD` outside the step, or use srun --gpu-bind=none.",
    ),
    "nodes_unmeasured": WarningText(
        "The job has nodes on which no process of wattlaw ran; their time and energy are "
        "not in the record.",
        "Start it once on every node: `srun wattlaw measure -- CMD`.",
    ),
    "processes_left": WarningText(
        "The command ended, but processes that it started are still running; what they use "
        "from then on is not counted.",
        "Let the command wait for them, or end them if they were not meant to continue.",
    ),
    "record_lost": WarningText(
        "The record could not be written at the end; the result was printed, but not saved.",
        "Free some space, or choose another folder, and run it again; what was written "
        "before is still there.",
    ),
    "sampling_trouble": WarningText(
        "Some readings of a meter failed.",
        "See the message; readings in between are missing, not zero.",
    ),
}


def meaning(name: str) -> WarningText:
    """Return the text of a warning; empty for an unknown name."""
    return WARNINGS.get(name.replace(" ", "_").replace("-", "_"), WarningText("", ""))
