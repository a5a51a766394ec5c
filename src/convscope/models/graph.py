"""What is connected with what in a network, and how far does each layer see?

In: a network and the shape of one image.  Out: a `Graph` of the layers and
operations that an image goes through, with the shapes of what they put out
and their receptive fields, as traced by torch.fx.  The network runs in
evaluation mode and without numbers; it is not touched.

    C  channels      H, W  pixels
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from convscope.core.errors import ConfigError

from .geometry import without_numbers
from .receptive import PIXEL, Sees, joined, of_layer, of_operation


@dataclass(frozen=True)
class Node:
    """A call of a layer, or an operation between layers."""

    name: str
    """The layer's place in the network, or where the operation is, e.g. `layer1.0.add`."""
    kind: str
    """The layer's class or the operation, e.g. `Conv2d`, `add`."""
    inputs: tuple[int, ...]
    """Which nodes it gets, by their place in the graph."""
    output: tuple[int, ...]
    """Shape of its output for one image, without the batch; () if it is not a tensor."""
    sees: Sees
    module: nn.Module | None
    """The layer itself; None for an operation and for the image."""


@dataclass(frozen=True)
class Graph:
    """A network's calls in their order; the first is the image."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    """The nodes that the network returns."""

    def users(self, index: int) -> tuple[int, ...]:
        """Which nodes get what that node puts out."""
        return tuple(i for i, node in enumerate(self.nodes) if index in node.inputs)


def trace(network: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Follow an image through a network.

    A layer is a module of torch's or one without parts.  `nn.Identity`, which marks a part that is switched
    off, is no node.

    Args:
        network: any that takes a batch of images; unchanged afterwards.
        shape: (C, H, W) of one image.

    Raises:
        ConfigError: torch.fx cannot follow the network's own code, or it cannot take such images.
    """
    ghost = without_numbers(network)
    kind = type(network).__name__
    dtype = next((p.dtype for p in ghost.parameters()), torch.float32)
    image = torch.empty(1, *shape, dtype=dtype, device="meta")
    followed = follow(ghost)
    run = _Run(ghost, followed)
    try:
        with torch.no_grad():
            run.run(image)
    except _ANY as error:
        times = "x".join(map(str, shape))
        raise ConfigError(f"{kind} cannot take {times} images: {_first_line(error)}") from None
    return _graph(network, followed, run)


def follow(network: nn.Module) -> fx.Graph:
    """The calls of a network's layers and operations, without shapes.

    Args:
        network: in the mode in which it is to be followed.

    Raises:
        ConfigError: torch.fx cannot follow the network's own code.
    """
    try:
        return _Tracer().trace(network)
    except _ANY as error:
        raise ConfigError(
            f"The structure of {type(network).__name__} cannot be traced, because torch.fx says: "
            f"{_first_line(error)} Its forward may not decide by the numbers in a batch or count its images. Move "
            f"such a part into a module of its own without parts, which is not looked into."
        ) from None


# What code of a user's own raises when it meets a stand-in for a tensor.
_ANY = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[0].strip() if lines else type(error).__name__
    return text if text.endswith(".") else text + "."


class _Tracer(fx.Tracer):
    """Does not look into layers."""

    def __init__(self) -> None:
        super().__init__(param_shapes_constant=True)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or not list(m.children())


class _Run(fx.Interpreter):
    """Runs a traced network, and writes down what each step puts out and sees."""

    def __init__(self, module: nn.Module, followed: fx.Graph, start: Sees = PIXEL) -> None:
        super().__init__(module, garbage_collect_values=False, graph=followed)
        self.start = start
        self.values: dict[fx.Node, Any] = {}
        self.sees: dict[fx.Node, Sees] = {}
        """Only of what depends on the image."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.values[n] = value
        seen = [self.sees[each] for each in n.all_input_nodes if each in self.sees]
        if n.op == "placeholder":
            self.sees[n] = self.start
        elif seen and n.op != "output" and _is_carried(value):
            self.sees[n] = "all" if "all" in seen else self._seen_by(n, seen, value)
        return value

    def _seen_by(self, n: fx.Node, seen: list[Sees], value: Any) -> Sees:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        if n.op == "call_module":
            module = self.fetch_attr(str(n.target))
            return of_layer(module, seen, args, value, lambda: _inside(module, seen, args))
        return of_operation(_operation(n), seen, args, kwargs, value)


def _is_carried(value: Any) -> bool:
    """A map, or several; not the size of one."""
    several = value if isinstance(value, tuple | list) else [value]
    return any(isinstance(each, Tensor) for each in several)


def _operation(node: fx.Node) -> str:
    """`add` for torch.add, operator.add, Tensor.add and `+=`."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = name.strip("_")
    return name[1:] if name in ("iadd", "isub", "imul", "itruediv") else name


def _graph(network: nn.Module, followed: fx.Graph, run: _Run) -> Graph:
    place: dict[fx.Node, tuple[int, ...]] = {}
    nodes: list[Node] = []
    outputs: tuple[int, ...] = ()
    for node in followed.nodes:
        inputs = tuple(dict.fromkeys(i for each in node.all_input_nodes for i in place.get(each, ())))
        module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
        value = run.values[node]
        if node.op == "output":
            outputs = inputs
        elif isinstance(module, nn.Identity):
            place[node] = inputs
        elif (
            node in run.sees
            and isinstance(value, Tensor | tuple | list)
            and not isinstance(value, torch.Size)
        ):
            place[node] = (len(nodes),)
            shape = tuple(value.shape[1:]) if isinstance(value, Tensor) else ()
            nodes.append(Node(*_named(node, module), inputs, shape, run.sees[node], module))
    return Graph(tuple(nodes), outputs)


def _named(node: fx.Node, module: nn.Module | None) -> tuple[str, str]:
    if module is not None:
        return str(node.target), type(module).__name__
    if node.op == "placeholder":
        return "image", "image"
    kind = _operation(node)
    stack = list((node.meta.get("nn_module_stack") or {"": None}).keys())
    return (f"{stack[-1]}.{kind}" if stack[-1] else kind), kind


def _inside(module: nn.Module, seen: list[Sees], args: tuple[Any, ...]) -> Sees:
    """A layer of somebody's own: what its operations see."""
    try:
        followed = _Tracer().trace(module)
        run = _Run(module, followed, joined(seen))
        run.run(*args)
    except _ANY:
        return None
    (result,) = (node for node in followed.nodes if node.op == "output")
    return run.sees.get(result.all_input_nodes[0]) if result.all_input_nodes else None
