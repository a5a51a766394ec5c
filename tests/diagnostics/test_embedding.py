"""The plane against numpy, the agreement against five slow lines."""

import numpy as np
import pytest
from small import linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError
from convscope.diagnostics.embedding import Embedding, agreement, embedding


def looked(method: str = "pca", seed: int = 0, count: int = 40) -> tuple[Embedding, np.ndarray]:
    net = nn.Sequential(nn.Flatten(), linear(np.eye(3, 4).tolist()))
    pixels = noise(count, size=2)
    subject = subject_on(net, pixels, mean=(0.5,), std=(0.25,), seed=seed)
    return embedding(subject=subject, neighbours=5, method=method), (
        pixels.numpy().reshape(-1, 4) / 255 - 0.5
    ) / 0.25  # type: ignore[arg-type]


def test_the_plane_of_pca_is_that_of_the_covariance() -> None:
    found, features = looked()
    values, vectors = np.linalg.eigh(np.cov(features.T))
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])
    np.testing.assert_allclose(found.points, (features - features.mean(0)) @ axes, atol=1e-5)
    assert found.explained == pytest.approx(values[::-1][:2].sum() / values.sum(), rel=1e-5)
    assert (found.features, found.images, found.layer) == (4, 40, "1")


def test_agreement_by_counting() -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
    right = 0
    for i in range(30):
        far = [(np.sum((points[i] - points[j]) ** 2), j) for j in range(30) if j != i]
        right += sum(labels[j] == labels[i] for _, j in sorted(far)[:4])
    assert agreement(points, labels, 4) == right / 120


def test_chance_by_hand() -> None:
    # 40 images of three classes in turn: 14, 13, 13.
    found, _ = looked()
    assert found.chance == pytest.approx((14 * 13 + 13 * 12 + 13 * 12) / (40 * 39))


def test_t_sne_keeps_neighbours_and_depends_on_the_seed_alone() -> None:
    found, _ = looked("t-sne")
    assert found.trust > looked()[0].trust
    assert np.isnan(found.explained)
    assert found.points.tolist() == looked("t-sne")[0].points.tolist()


def test_what_the_sentence_says() -> None:
    found, _ = looked()
    assert found.sentence == (
        f"toy on toys: of the 5 nearest neighbours of an image, {found.agreement:.1%} have its label among the 4 "
        f"features before 1 and {found.agreement_plane:.1%} in the plane of PCA, which holds {found.explained:.0%} of "
        f"the variance; 31.7% by chance (trustworthiness {found.trust:.3f}, 40 images of val)."
    )


def test_too_many_neighbours_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        looked(count=10)
    assert str(caught.value) == "neighbours=5 of 10 images are too many to be near: choose fewer than half."


def test_one_feature_is_no_plane() -> None:
    subject = subject_on(nn.Sequential(nn.Flatten(), linear([[1]] * 3)), noise(30, size=1))
    with pytest.raises(ConfigError) as caught:
        embedding(subject=subject)
    assert str(caught.value) == "One feature cannot be laid into a plane: there must be two or more."
