"""The plane of a path is what a principal component analysis finds."""

import re

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from convscope.core.errors import ConfigError
from convscope.diagnostics.trajectory import principal_plane


def path_of(moments: int, seed: int = 0) -> list[dict[str, Tensor]]:
    walk = np.random.default_rng(seed).standard_normal((moments, 4, 3)).cumsum(0)
    return [{"w": torch.from_numpy(at)} for at in walk]


def test_plane_of_the_trajectory_is_that_of_a_principal_component_analysis() -> None:
    path = path_of(9)
    plane = principal_plane(path, path[-1])
    rows = np.stack([(at["w"] - path[-1]["w"]).ravel() for at in path[:-1]])
    known = PCA(2).fit(rows)
    ours = np.stack([direction["w"].ravel() for direction in plane.directions])
    np.testing.assert_allclose(np.abs((ours * known.components_).sum(1)), 1, rtol=1e-5)
    assert plane.explained == pytest.approx(known.explained_variance_ratio_.sum())
    np.testing.assert_allclose(plane.coordinates[:-1], rows @ ours.T, rtol=1e-4)
    assert plane.coordinates[-1].tolist() == [0.0, 0.0]
    assert (plane.coordinates[0] > 0).all()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            path_of(3),
            "A trajectory needs the weights at four moments or more; there are 3. Train with --inspect "
            "snapshot:every=... and a smaller interval.",
        ),
        (
            [{"w": step * torch.ones(4, 3)} for step in range(5)],
            "The weights lie on a straight line, or do not move: no plane is that of the trajectory.",
        ),
        (
            [*path_of(3), {"v": torch.ones(4, 3)}],
            "Moment 3 of the trajectory is of another network: w has shape (4, 3) in the network and nothing there.",
        ),
    ],
)
def test_a_path_without_a_plane_is_refused(path: list[dict[str, Tensor]], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        principal_plane(path, {"w": torch.zeros(4, 3)})
