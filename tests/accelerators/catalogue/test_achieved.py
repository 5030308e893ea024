"""Datasheet peaks, and the shares of them that runs and MLPerf results achieve."""

from __future__ import annotations

import msgspec
import pytest
from tests.accelerators.runs import A100, run_on

from wattlaw.accelerators.catalogue.achieved import achieved, mlperf_achieved
from wattlaw.accelerators.catalogue.mlperf_results import BENCHMARK_FLOP
from wattlaw.accelerators.catalogue.peaks import peak_op_per_s, sixteen_bit
from wattlaw.core.reading import measured
from wattlaw.workloads.counts import preset_counts


def test_a_peak_is_dense_and_names_its_device() -> None:
    peak = peak_op_per_s(A100, "bf16")
    assert (peak.value, peak.status) == (312e12, "estimated")
    assert "A100 SXM4 80 GB" in peak.how
    assert "dense" in peak.how
    assert peak_op_per_s("nvidia  a100-sxm4-80GB", "tf32").value == 156e12


@pytest.mark.parametrize(
    ("device", "precision", "why"),
    [
        ("TPU", "bf16", "unknown device 'TPU'"),
        ("N/A", "bf16", "unknown device 'N/A'"),
        ("NVIDIA A100", "bf16", "unknown device"),
        ("", "bf16", "unknown device"),
        ("Tesla V100-SXM2-16GB", "bf16", "no peak at precision 'bf16'"),
        (A100, "", "no peak at precision 'unknown'"),
        ("nvidia-dgx-h100", "fp16", "counts structured sparsity"),
    ],
)
def test_a_peak_is_never_guessed(device: str, precision: str, why: str) -> None:
    peak = peak_op_per_s(device, precision)
    assert peak.value is None
    assert why in peak.how


def test_a_runs_share_of_peak_is_counted_work_over_the_datasheet_peak() -> None:
    counted = preset_counts("resnet50", "base")
    assert counted is not None
    row = achieved(run_on())
    assert row.samples_per_s.value == 400
    assert row.share_of_peak.value == pytest.approx(400 * counted.flop_per_sample / 312e12)
    assert row.flop_per_joule.value == pytest.approx(400 * counted.flop_per_sample / 300)
    assert row.share_of_peak.status == "estimated"
    assert "gpu energy" in row.flop_per_joule.how


def test_operations_per_joule_are_missing_without_a_measured_energy() -> None:
    bare = run_on()
    only_guessed = {k: v for k, v in bare.quantities.items() if k != "gpu_energy_j"}
    row = achieved(msgspec.structs.replace(bare, quantities=only_guessed))
    assert row.flop_per_joule.value is None
    assert row.flop_per_joule.how == "no energy was measured"
    node = achieved(
        msgspec.structs.replace(bare, quantities=only_guessed | {"node_energy_j": measured(9000.0)})
    )
    assert node.flop_per_joule.value == pytest.approx(
        (row.achieved_flop_per_s.value or 0) / 400 * 8000 / 9000
    )
    assert "node energy" in node.flop_per_joule.how


def test_the_share_of_peak_is_missing_with_the_reason_if_a_fact_is_unknown() -> None:
    assert "unknown device 'Tesla X'" in achieved(run_on("Tesla X")).share_of_peak.how
    assert "does not name its device" in achieved(run_on("")).share_of_peak.how
    assert "have not been counted" in achieved(run_on(workload="mine")).share_of_peak.how
    imported = achieved(run_on(source="somebody"))
    assert imported.precision == "unknown"
    assert "does not record its precision" in imported.share_of_peak.how
    assert achieved(run_on(source="somebody"), precision="bf16").share_of_peak.value is not None


def test_no_mlperf_result_exceeds_the_peak_of_its_device() -> None:
    shares = [r.share_of_peak.value for r in mlperf_achieved() if r.share_of_peak.value is not None]
    assert len(shares) > 60
    assert all(0.02 < s < 0.9 for s in shares)


def test_the_operations_of_bert_agree_with_the_count_of_its_model() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from wattlaw.workloads.language.bert import MASKED_SHARE, Bert, BertSize

    def counted(tokens: int) -> int:
        with torch.device("meta"):
            model = Bert(BertSize(24, 1024, 16, 30522, 512, 512, 2, 0.1), 0)
            text, asked = (
                torch.zeros(1, tokens, dtype=torch.long),
                torch.zeros(1, round(MASKED_SHARE * tokens)).long(),
            )
        with FlopCounterMode(display=False) as counter:
            model(text, asked).sum().backward()
        return counter.get_total_flops()

    # for a mean of 256 tokens, the minimum is at equal lengths, the maximum at half 512 and half 0
    least, most = counted(256), counted(512) / 2
    assert least < BENCHMARK_FLOP["bert"] < most < 1.05 * least


def test_one_of_the_two_devices_of_an_mi250x_has_half_of_its_peak() -> None:
    half, whole = sixteen_bit("amd-mi250x-die"), sixteen_bit("amd-radeon-instinct-mi250x")
    assert half
    assert whole
    assert whole.peak_op_per_s == 2 * half.peak_op_per_s
    assert peak_op_per_s("AMD Instinct MI250X", "bf16").value == half.peak_op_per_s
