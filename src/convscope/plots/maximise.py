"""Which images do units like best?"""

from matplotlib.figure import Figure

from convscope.diagnostics.maximise import Maximised

from . import style


def draw(result: Maximised) -> Figure:
    """The image of each unit, with its answer to it and to real images."""
    count = len(result.units)
    columns = min(5, count)
    rows = -(-count // columns)
    figure, axes = style.panels(rows, columns, width=1.5, height=1.85)
    for i in range(count):
        title = (
            f"{result.names[i]}: {result.reached[i]:.1f}\n"
            f"real: {result.mean[i]:.1f}, largest {result.largest[i]:.1f}"
        )
        style.photo(axes[i], result.pixels[i], title)
    style.hide(axes[count:])
    figure.suptitle(
        f"{result.subject}: images that maximise {result.layer}; {result.steps} steps of {result.lr:g} from noise,\n"
        f"L2 {result.l2:g}, total variation {result.tv:g}, jitter {result.jitter}; real: mean answer to {result.images} "
        f"images of {result.split}",
        fontsize=8,
    )
    return figure
