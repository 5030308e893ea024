"""Every named warning: what it means and what to do about it. A name is snake_case, and is used for one thing."""

from __future__ import annotations

NOTES: dict[str, tuple[str, str]] = {
    # of the laws
    "few_repeats": (
        "With fewer than 3 repeats the scatter between runs is hardly known: intervals are wide or missing, or lean "
        "on the scatter of the other settings.",
        "Run at least 3 repeats of every setting: repeats = 3 in the sweep file.",
    ),
    "one_setting": (
        "Advice compares settings, and there is only one.",
        "Sweep a second number of devices or batch size.",
    ),
    "no_probability": (
        "How surely the bound on the slowdown holds is unknown without repeats.",
        "Run at least 3 repeats.",
    ),
    "not_ranked": (
        "A trial that is done logged too few losses, or one that is not finite, and takes no part in the ranking.",
        "Let it run longer, or look at its learning rate where its loss is not finite.",
    ),
    "only_settings_run": (
        "Settings that nobody ran were to be weighed, and nothing here tells of any.",
        "Run a second number of devices with the same batch a device, or three power caps with GPU energy.",
    ),
    "no_cost": (
        "Energy has a price, but not every run measured it, so no cost is given.",
        "Price device-hours alone, or run again where a meter reads (`wattlaw doctor`).",
    ),
    "no_energy": (
        "Not every run that the prediction stands on measured the energy of its GPUs, so none is foretold.",
        "Run those again where a meter reads (`wattlaw doctor`); `wattlaw runs show` says which they are.",
    ),
    "no_prediction": (
        "Some groups of runs do not tell enough to predict this setting, and are left out.",
        "Run a second number of devices, or one nearer to what is asked for.",
    ),
    "no_law": (
        "These runs do not suffice for a law.",
        "Two sizes give a speed-up, three an exponent: add values to [over] in the sweep file.",
    ),
    "no_advice": (
        "No setting can be recommended from these runs.",
        "Run at least two settings that record their time, or name what to minimise.",
    ),
    "failed_runs": (
        "Trials that failed are left out of every figure.",
        "See “What failed”; `wattlaw sweep retry` runs them again.",
    ),
    "not_compared": (
        "A quantity that was asked for is in no setting of both folders.",
        "See its status with `wattlaw runs show`.",
    ),
    "runs_left_out": (
        "Some runs did not record the quantity in question.",
        "See their status in the table of settings.",
    ),
    "weak_scaling": (
        "The batch per device is fixed, so a step of N devices does N times the work.",
        "Compare the time per sample rather than the time per step.",
    ),
    "damaged_run": (
        "A run's file is broken or half-written; it is left out.",
        "Delete its folder and resume the sweep to run it again.",
    ),
    "faster_than_ideal": (
        "More devices cannot do more than their share of the work: the runs with fewer were disturbed, or the "
        "smaller memory of one device or cache held them back.",
        "See whether the machine was steady, and run the sweep again on a quiet one.",
    ),
    "formula": (
        "No run gives the time of communication, so it is the ring's formula.",
        "Run two devices; the prediction is then corrected by what they measure.",
    ),
    "prior": (
        "Too few of your runs tell the time of communication; it leans on published MLPerf runs.",
        "Run more numbers of devices.",
    ),
    "unlike_energies": (
        "The two sets measured energy within different boundaries, so their energies are not compared.",
        "Compare one boundary by name, such as --columns gpu_energy_per_sample_j.",
    ),
    "several_machines": (
        "The runs of one side come from several machines, whose difference may hide the one looked for.",
        "Compare runs of one machine.",
    ),
    "link_taken": (
        "For some accelerators no source says how fast the devices of a node are joined; PCIe 4.0 x16 was taken.",
        "Give link_bandwidth_bytes_per_s in your own table and name it with --catalogue.",
    ),
    "one_node_scaling": (
        "Devices are taken to scale as within one node; a network slows many small ones down.",
        "Measure two nodes before buying many.",
    ),
    "step_floor": (
        "A step would be shorter than any that a single node showed in MLPerf Training, so that one is taken.",
        "Measure the workload on one device: what launching its steps takes is not in the prediction.",
    ),
    "device_power_only": (
        "Power and energy are the devices' at promised peak power; hosts and cooling come on top.",
        "Add what the maker of the node states.",
    ),
    "not_measured": (
        "No run of the workload stands behind the figure; it is carried over from other workloads.",
        "Correct it by runs of your own: --runs DIR.",
    ),
    # of other people's records
    "skipped": (
        "Something in the imported files is no run or could not be read; it is left out.",
        "See the message; `wattlaw import --json` lists all.",
    ),
    "throughput_unit": (
        "The log counts its rate in something else than samples, so the rate is samples over time.",
        "Nothing, unless you compare with the log's own figure.",
    ),
    "throughput_disagrees": (
        "The rate that the log states and samples over time differ.",
        "Read how the log counts before comparing rates.",
    ),
    "power_log": (
        "A power log could not be read or does not cover the run; its energy is missing.",
        "See the message; the run's times stand.",
    ),
    "switch_energy": (
        "Network switches were metered too; their energy is not counted in the nodes.",
        "Add it where the whole system is asked for.",
    ),
    "tracker_scope": (
        "CodeCarbon counts the whole machine by default; runs side by side count it each.",
        "Compare runs that had the machine to themselves.",
    ),
    # of the data
    "bad_records": (
        "Records of the data file could not be used and were left out, as --on-bad skip asks.",
        "See the message; `wattlaw data check FILE` lists all bad molecules of a file.",
    ),
    "estimated_bonds": (
        "Bonds were estimated from distances, because the data have none.",
        "Give a file with bonds, such as an SDF, where orders of bonds matter.",
    ),
    "generated_data": (
        "The samples are random, in the layout of real ones: time and energy mean what they say, the loss nothing.",
        "Leave out data=generated to learn something.",
    ),
    "learnt_vocabulary": (
        "The tokens are numbered as the data themselves have them, not as the published vocabulary does.",
        "Install what the message names, or give vocabulary=FILE; nothing where only time and energy are asked for.",
    ),
    # of the steps
    "unstable_steps": (
        "Step times scatter or drift within a run, so their median depends on when one looks.",
        "Close other programs, lengthen the warm-up (warmup_steps), or run more steps.",
    ),
    "few_steps": (
        "A median of so few steps can be off by chance.",
        "Run more steps: stop = { steps = 100 }.",
    ),
    "steps_smoothed": (
        "Lines of a command's output arrived together, so single step times are unknown: no spread is given.",
        "Print and flush a line for every step, or use wattlaw.measure in the script.",
    ),
    "pattern_never_matched": (
        "The step pattern found no line of the command's output, so no step time is known.",
        "Compare step_pattern with the lines that the message shows.",
    ),
    "ranks_missing": (
        "Some processes left no measured steps, so the rate counts too few samples.",
        "Look at the trial's output files; run it again.",
    ),
    "oversubscribed": (
        "More processes than cores: they take turns, so this is no speed-up of real devices.",
        "Run fewer processes, or ask for more cores.",
    ),
    # of the training
    "resumed": (
        "The trial was stopped and went on from a checkpoint in a new attempt. Rates, times and energies are of the "
        "last attempt's steps; totals over all attempts have all_attempts in their name.",
        "Nothing, unless you compare totals: use those of all attempts.",
    ),
    "target_not_met": (
        "The training ended at its bound before the valid part's metric reached the target.",
        "Raise the bound in steps or seconds, or choose a target that this training can meet.",
    ),
    "compiled_gradients": (
        "On one batch, before training, torch.compile gave other gradients than the same model without it: it learns "
        "otherwise, if at all. Time and energy mean what they say.",
        "Leave out compile, or find the layer that the compiler gets wrong and write it otherwise.",
    ),
    # of the meters
    "no_energy_meter": (
        "Nothing measures energy on this machine; energies are estimates, and advice speaks of time.",
        "`wattlaw doctor` says what would measure it, and which permission is missing.",
    ),
    "counter_disagrees": (
        "The device's energy counter and its sampled power tell different energies.",
        "Prefer longer runs; compare `wattlaw runs show` of this trial.",
    ),
    "counter_went_back": (
        "An energy counter fell, by a reset or an overflow; the gap was bridged.",
        "Repeat the run if it happens often.",
    ),
    "window_short": (
        "The measured window is short against how often the device updates its reading.",
        "Run more steps, so that the window lasts seconds.",
    ),
    "device_lost": (
        "A device stopped answering before the window ended.",
        "Look at the driver's log; its energy for this run is too small or missing.",
    ),
    "throttled": (
        "The device held its clocks down, for heat or power.",
        "Cool it, or set a cap on purpose, and run again.",
    ),
    "other_process_on_device": (
        "Someone else used the device; time and energy are shared with them.",
        "Run on a device of your own.",
    ),
    "gpu_shared": (
        "The GPU is cut into MIG instances, and its one power meter counts what others do in theirs too.",
        "Take its energy as an upper bound, or run where the job holds the whole GPU.",
    ),
    "gpu_order_unknown": (
        "The GPUs differ and are named by number, and CUDA may number them in another order than the driver: what was "
        "read may be another GPU.",
        "Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPUs by UUID.",
    ),
    "clock_jump": (
        "The machine's UTC clock was set during the run; durations use another clock and stand.",
        "Nothing, unless you compare with logs of other machines.",
    ),
    "clocks_not_compared": (
        "The clocks of two hosts could not be set against each other closely enough, so a step of one may be given "
        "energy of the moment before or after on the other.",
        "Let the nodes reach each other by TCP, or keep their UTC in step (NTP).",
    ),
    "sampler_lost": (
        "The process that reads the meters stopped or never ran on a host.",
        "Energy and utilisation of that host are incomplete; run the trial again.",
    ),
    "clock_not_as_asked": (
        "Slurm was asked for a clock, and the device ran at another.",
        "Ask the operators whether --gpu-freq is allowed (gpu/nvml plug-in), or take a clock that the device offers.",
    ),
    "clock_not_read_back": (
        "Slurm was asked for a clock, and nothing tells whether it was in force.",
        "Look at the sampled clocks before you compare clocks; run it again on GPUs whose driver tells them.",
    ),
    "gpus_unread": (
        "The process that reads the meters saw only some of the job's GPUs, so their energy as a whole is missing.",
        "Start `wattlaw measure -- srun CMD` outside the step, or give srun --gpu-bind=none.",
    ),
    "nodes_unmeasured": (
        "The job has nodes on which no process of wattlaw ran; their time and energy are not in the record.",
        "Start it once on every node: `srun wattlaw measure -- CMD`.",
    ),
    "processes_left": (
        "The command ended and left processes of its own running; what they use after its end is in no figure.",
        "Have the command wait for them, or end them if they were left by mistake.",
    ),
    "record_lost": (
        "The disk refused the record at the end; what was measured was told, and not kept.",
        "Free some space, or choose another folder, and run it again; what was written before is still there.",
    ),
    "sampling_trouble": (
        "A meter gave an error now and then.",
        "See the message; readings in between are missing, not zero.",
    ),
}


def meaning(name: str) -> tuple[str, str]:
    """Return what a warning means and what to do; empty for one that is not known here."""
    return NOTES.get(name.replace(" ", "_").replace("-", "_"), ("", ""))
