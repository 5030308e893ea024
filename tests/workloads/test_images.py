"""Images from a folder in ImageNet's layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wattlaw.core.errors import DataError, SettingError
from wattlaw.workloads.vision.resnet import ResNet50

pillow = pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    for part, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = draw.integers(0, 256, (90, 120, 3), dtype=np.uint8)
                pillow.fromarray(pixels).save(tmp_path / part / name / f"{k}.png")
    return tmp_path


def test_a_folder_gives_standardised_squares_with_the_class_of_their_folder(folder):
    workload = ResNet50("base", {"data": str(folder)})
    data = workload.data("train")
    assert [int(data[k]["label"]) for k in range(len(data))] == [0, 0, 0, 1, 1, 1]
    batch = workload.collate([workload.data("valid")[k] for k in range(4)])
    assert batch["pixels"].shape == (4, 3, 224, 224)
    assert batch["pixels"].std() > 0.1
    torch.manual_seed(0)
    first = data[0]["pixels"]
    torch.manual_seed(0)
    assert torch.equal(first, data[0]["pixels"])


def test_a_file_that_is_no_image_is_named_or_left_out_with_a_count(folder):
    bad = folder / "train" / "cat" / "a.png"
    bad.write_bytes(b"not an image")
    data = ResNet50("base", {"data": str(folder)}).data("train")
    with pytest.raises(DataError, match=r"cat/a\.png"):
        data[3]
    workload = ResNet50("base", {"data": str(folder), "on_bad": "skip"})
    assert len(workload.data("train")) == 6
    assert workload.skipped == 1


def test_a_truncated_image_is_named(folder):
    path = folder / "train" / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"cat/0\.png"):
        ResNet50("base", {"data": str(folder)}).data("train")[0]


def test_a_missing_folder_and_a_preset_without_colour_are_answered(folder):
    with pytest.raises(DataError, match="no such folder"):
        ResNet50("base", {"data": str(folder / "none")}).data("train")
    with pytest.raises(SettingError, match="use base"):
        ResNet50("tiny", {"data": str(folder)}).data("train")
