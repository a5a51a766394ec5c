"""Where do images lie in the plane of their features?"""

import matplotlib
from matplotlib.figure import Figure

from convscope.diagnostics.embedding import Embedding

from . import style


def draw(result: Embedding) -> Figure:
    """A point per image, coloured by its true class; with more than 20 classes colours repeat without a legend."""
    figure = style.figure(6.4, 4.6)
    axes = style.plain(figure.subplots())
    named = len(result.classes) <= 20
    colours = matplotlib.colormaps["tab10" if len(result.classes) <= 10 else "tab20"]
    for k, name in enumerate(result.classes):
        points = result.points[result.labels == k]
        if len(points):
            colour = [colours(k % colours.N)]
            axes.scatter(points[:, 0], points[:, 1], s=8, c=colour, label=name, linewidths=0)
    if named:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False, markerscale=2)
    pca = result.method == "pca"
    axes.set_xlabel("first principal component" if pca else "t-SNE, first axis (no unit)", fontsize=8)
    axes.set_ylabel("second principal component" if pca else "t-SNE, second axis (no unit)", fontsize=8)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_title(
        f"{result.subject}: {result.features} features before {result.layer}, {result.images} images of "
        f"{result.split}\nof {result.neighbours} nearest neighbours {result.agreement:.0%} have the same label, in the "
        f"plane {result.agreement_plane:.0%}, by chance {result.chance:.0%}",
        fontsize=8,
    )
    return figure
