"""Images from a folder in ImageNet's layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wattlaw.core.errors import DataError
from wattlaw.workloads.vision.image_folder import random_crop
from wattlaw.workloads.vision.inception import Inception3
from wattlaw.workloads.vision.resnet import ResNet50
from wattlaw.workloads.vision.vgg import VGG11

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


def test_a_folder_gives_normalised_square_images_with_the_class_of_their_folder(folder):
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


@pytest.mark.parametrize("damage", [b"not an image", b"", "cut"])
def test_a_file_that_is_not_an_image_is_named_before_training_or_skipped_and_counted(
    folder, damage
):
    bad = folder / "train" / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:4000] if damage == "cut" else damage)
    with pytest.raises(DataError, match=r"cat/1\.png: the "):
        ResNet50("base", {"data": str(folder)}).data("train")
    workload = ResNet50("base", {"data": str(folder), "on_bad": "skip"})
    assert len(workload.data("train")) == 5
    assert [n.name for n in workload.notes] == ["bad_records"]
    assert "1 of 6 records" in workload.notes[0].message
    assert "cat/1.png" in workload.notes[0].message


def test_an_image_truncated_during_training_is_named(folder):
    data = ResNet50("base", {"data": str(folder)}).data("train")
    path = folder / "train" / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"cat/0\.png"):
        data[0]


def test_sixteen_bit_grey_levels_are_not_clipped_to_eight_bits(folder):
    levels = np.linspace(0, 1, 64)[None].repeat(64, 0)
    for name, kind in (("8", np.uint8), ("16", np.uint16)):
        pillow.fromarray((levels * np.iinfo(kind).max).astype(kind)).save(
            folder / "val" / "cat" / f"grey{name}.png"
        )
    data = ResNet50("base", {"data": str(folder)}).data("valid")
    deep, shallow = (data[k]["pixels"] for k in range(len(data)) if "grey" in data.files[k][0].name)
    assert float((deep - shallow).abs().max()) < 0.03


def test_an_image_whose_header_claims_too_many_pixels_is_named(folder):
    path = folder / "train" / "cat" / "4.bmp"
    pillow.new("RGB", (4, 4)).save(path)
    claimed = (30_000).to_bytes(4, "little")
    path.write_bytes((whole := path.read_bytes())[:18] + claimed * 2 + whole[26:])
    with pytest.raises(DataError, match=r"cat/4\.bmp: the image cannot be read"):
        ResNet50("base", {"data": str(folder)}).data("train")


def test_a_truncated_jpeg_is_detected_by_its_last_bytes(folder):
    path = folder / "train" / "dog" / "3.jpg"
    draw = np.random.default_rng(1)
    pillow.fromarray(draw.integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    assert len(ResNet50("base", {"data": str(folder)}).data("train")) == 7
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"dog/3\.jpg"):
        ResNet50("base", {"data": str(folder)}).data("train")


def test_random_crops_are_within_the_image_and_cover_8_to_100_percent():
    torch.manual_seed(0)
    shares = []
    for _ in range(2000):
        left, upper, right, lower = random_crop(500, 375)
        assert 0 <= left < right <= 500 + 1e-9
        assert 0 <= upper < lower <= 375 + 1e-9
        shares.append((right - left) * (lower - upper) / (500 * 375))
        assert 0.5 < (right - left) / (lower - upper) < 2
    assert min(shares) == pytest.approx(0.08, abs=0.01)
    assert max(shares) > 0.95


def test_a_class_without_validation_images_does_not_renumber_the_others(folder):
    for path in (folder / "val" / "cat").iterdir():
        path.unlink()
    (folder / "val" / "cat").rmdir()
    data = ResNet50("base", {"data": str(folder)}).data("valid")
    assert [int(data[k]["label"]) for k in range(2)] == [1, 1]


def test_a_small_network_trains_on_a_folder_of_grey_images(folder):
    workload = ResNet50("tiny", {"data": str(folder)})
    data, model = workload.data("train"), workload.model()
    batch = workload.collate([data[k] for k in range(len(data))])
    assert workload.prepare(batch["pixels"]).shape == (6, 1, 8, 8)
    torch.testing.assert_close(workload.prepare(batch["pixels"])[:, 0], batch["pixels"].sum(1) / 3)
    optimiser = workload.optimiser(model.parameters())
    losses = []
    for _ in range(20):
        loss = workload.loss(model, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("made", [ResNet50, VGG11, Inception3])
def test_the_channels_last_layout_changes_no_gradient(made):
    workload = made("tiny")
    torch.manual_seed(0)
    laid_out = workload.model().double()
    torch.manual_seed(0)
    plain = workload.network().double()
    wide = [
        m for m in laid_out.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)
    ]
    assert wide
    assert all(m.weight.is_contiguous(memory_format=torch.channels_last) for m in wide)
    data = workload.data("train")
    batch = workload.collate([data[k] for k in range(4)])
    batch["pixels"] = batch["pixels"].double()
    assert workload.prepare(batch["pixels"]).is_contiguous(memory_format=torch.channels_last)
    for model in (laid_out, plain):
        torch.manual_seed(1)
        workload.loss(model, batch).backward()
    for (name, mine), other in zip(laid_out.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(
            mine.grad, other.grad, rtol=1e-6, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_missing_folder_and_too_many_classes_are_refused(folder):
    with pytest.raises(DataError, match="no such folder"):
        ResNet50("base", {"data": str(folder / "none")}).data("train")
    for k in range(9):
        (folder / "train" / f"animal {k}").mkdir()
    with pytest.raises(DataError, match="11 classes; preset tiny has 10"):
        ResNet50("tiny", {"data": str(folder)}).data("train")
