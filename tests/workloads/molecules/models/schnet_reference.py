"""Copy weights between torch-geometric's SchNet and ours."""

from __future__ import annotations

import torch
from torch import Tensor

from wattlaw.workloads.molecules.graphs.pairs import Graph
from wattlaw.workloads.molecules.models.schnet import SIZES, SchNet

CUTOFF = 4.0


SIZE = SIZES["base"]._replace(hidden_channels=32, num_filters=24, num_interactions=2, cutoff=CUTOFF)


def edges(graph: Graph) -> Tensor:
    """Return torch-geometric's edges (2, 2P), from sender to receiver in both directions."""
    return torch.stack(
        [torch.cat([graph.second, graph.first]), torch.cat([graph.first, graph.second])]
    )


def with_weights_of(theirs: torch.nn.Module, ours: SchNet) -> SchNet:
    names = {
        "filter_in": "mlp.0", "filter_out": "mlp.2", "before": "conv.lin1", "after": "conv.lin2", "out": "lin",
    }  # fmt: skip
    state = {"embedding.weight": theirs.state_dict()["embedding.weight"]}
    for ours_name, theirs_name in {"head_in": "lin1", "head_out": "lin2"}.items():
        for kind in ("weight", "bias"):
            state[f"{ours_name}.{kind}"] = theirs.state_dict()[f"{theirs_name}.{kind}"]
    for block in range(ours.size.num_interactions):
        for ours_name, theirs_name in names.items():
            for kind in ("weight", "bias"):
                if (key := f"interactions.{block}.{theirs_name}.{kind}") in theirs.state_dict():
                    state[f"interactions.{block}.{ours_name}.{kind}"] = theirs.state_dict()[key]
    ours.load_state_dict(state)
    return ours
