"""What can a user pick by name?

One line per thing: its kind, its name, where the code is, one sentence, and
the source.  The line is text, so `--help`, completion and "did you mean" cost
no heavy import; `tests/contracts/test_catalog.py` compares every line with
the code.  The options of a thing are the keyword parameters of its function:

    Parameter("every", float, 10)   ->   --schedule.every 5, step:every=5,  every = 5 in TOML

Two rules widen that: a parameter whose default is a dataclass is spread into
its fields (the networks share activation, norm, dropout, init), and a
parameter without a default is filled in by convscope, not by the user.
"""

import dataclasses
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .errors import ConfigError, ConvscopeError, UnknownName, nearest


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing a user can pick."""

    kind: str
    name: str
    target: str
    """`module:function`, relative to `convscope`, or absolute for a user's own."""
    line: str
    """One sentence for lists and help."""
    source: str = ""
    """Where it comes from: paper, section, or the document it serves."""
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Models only: the recipe fields in which its default recipe differs from `Recipe()`."""

    def load(self) -> Callable[..., Any]:
        """Import and return the function."""
        module, _, function = self.target.partition(":")
        found = importlib.import_module(module)
        return typing.cast(Callable[..., Any], getattr(found, function))


@dataclasses.dataclass(frozen=True)
class Off:
    """Marks an option added after runs existed: at this value it does nothing and names no run.

    `Annotated[float, Off(0.0)]` on a config field or an option keeps every older run's name valid.
    """

    value: Any


@dataclasses.dataclass(frozen=True)
class Source:
    """Marks where a config field comes from: a paper, or an item of the source documents."""

    text: str


@dataclasses.dataclass(frozen=True)
class Option:
    """One keyword of a thing: its name, type, default and help."""

    name: str
    type: Any
    default: Any
    text: str = ""

    def is_off(self, value: Any) -> bool:
        """Whether the option was added later and is not in use."""
        return Off(value) in getattr(self.type, "__metadata__", ())


_CATALOG: dict[str, dict[str, Item]] = {}


def kinds() -> list[str]:
    """All kinds of things, sorted."""
    return sorted(_CATALOG)


def names(kind: str) -> list[str]:
    """The names of one kind, in catalog order."""
    if kind not in _CATALOG:
        raise UnknownName("kind of thing", kind, _CATALOG)
    return list(_CATALOG[kind])


def items(kind: str) -> Iterator[Item]:
    """The items of one kind, in catalog order."""
    names(kind)
    yield from _CATALOG[kind].values()


def find(kind: str, name: str) -> Item:
    """Look a name up.

    Raises:
        UnknownName: with the nearest names and all that are known.
    """
    if name not in names(kind):
        raise UnknownName(_SINGULAR.get(kind, kind), name, _CATALOG[kind])
    return _CATALOG[kind][name]


def register(item: Item) -> None:
    """Register a thing; a second one of the same kind and name is an error."""
    known = _CATALOG.setdefault(item.kind, {})
    if item.name in known:
        raise ConvscopeError(
            f"Two {item.kind} are called {item.name!r}: {known[item.name].target} and {item.target}."
        )
    known[item.name] = item


def options(item: Item) -> dict[str, Option]:
    """What the user may set, by name: keyword parameters with a default, shared dataclasses spread out."""
    function = item.load()
    hints = typing.get_type_hints(function, include_extras=True)
    found: dict[str, Option] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            continue
        if dataclasses.is_dataclass(parameter.default):
            shared = parameter.default
            shared_hints = typing.get_type_hints(type(shared), include_extras=True)
            for field in dataclasses.fields(shared):
                text = field.metadata.get("text", "")
                found[field.name] = Option(
                    field.name, shared_hints[field.name], getattr(shared, field.name), text
                )
        else:
            text = _explained(function, parameter.name)
            found[parameter.name] = Option(parameter.name, hints[parameter.name], parameter.default, text)
    return found


def literals(annotation: Any) -> tuple[Any, ...]:
    """The values that a type names one by one: of every `Literal` in it."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return tuple(value for inner in typing.get_args(annotation) for value in literals(inner))


def _explained(function: Callable[..., Any], parameter: str) -> str:
    """What the docstring says of a parameter under `Args:`, in one line."""
    args = re.search(r"^Args:\n((?:    .*\n|\n)*)", f"{inspect.getdoc(function)}\n", re.MULTILINE)
    entry = re.search(
        rf"^    {parameter}: ((?:.*\n)(?:        .*\n)*)", args[1] if args else "", re.MULTILINE
    )
    return " ".join(entry[1].split()) if entry else ""


def asked(item: Item) -> tuple[str, ...]:
    """What convscope fills in: the parameters without a default, in order."""
    parameters = inspect.signature(item.load()).parameters.values()
    return tuple(p.name for p in parameters if p.default is inspect.Parameter.empty)


def resolve(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a thing: what was given, typed and checked, and the defaults for the rest.

    Raises:
        UnknownName: no such thing.
        ConfigError: no such option, or a value of the wrong type.
    """
    item = find(kind, name)
    allowed = options(item)
    label = f"{_SINGULAR.get(kind, kind)} {name!r}"
    for key in given:
        if key not in allowed:
            listed = ", ".join(sorted(allowed)) or "none"
            raise ConfigError(f"The {label} has no option {key!r}.{nearest(key, allowed)} Options: {listed}.")
    resolved = {key: option.default for key, option in allowed.items()}
    for key, value in given.items():
        try:
            resolved[key] = TypeAdapter(allowed[key].type).validate_python(value)
        except ValidationError as error:
            problem = error.errors()[0]
            cause = problem.get("ctx", {}).get("error")
            if isinstance(cause, ConfigError):  # of something inside the value: its own sentence says it
                raise cause from None
            reason = problem["msg"]
            raise ConfigError(f"The option {key!r} of the {label} cannot be {value!r}: {reason}.") from None
    return resolved


def call(kind: str, name: str, given: Mapping[str, Any], **supplied: Any) -> Any:
    """Call a thing with the user's options and the parameters convscope supplies."""
    values = resolve(kind, name, given)
    function = find(kind, name).load()
    arguments: dict[str, Any] = dict(supplied)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is inspect.Parameter.empty:
            continue
        if dataclasses.is_dataclass(parameter.default):
            shared: Any = parameter.default
            fields = dataclasses.fields(shared)
            arguments[parameter.name] = dataclasses.replace(
                shared, **{field.name: values[field.name] for field in fields}
            )
        else:
            arguments[parameter.name] = values[parameter.name]
    return function(**arguments)


_SINGULAR = {
    "models": "model",
    "sources": "data set",
    "augmentations": "augmentation",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "losses": "loss",
    "activations": "activation",
    "inits": "initialisation",
    "noises": "noise",
    "diagnostics": "diagnostic",
    "topics": "topic",
}


def _list(kind: str, package: str, *lines: tuple[Any, ...]) -> None:
    for name, target, line, source, *recipe in lines:
        register(Item(kind, name, f"convscope.{package}.{target}", line, source, recipe[0] if recipe else {}))


# The default recipes were measured in results/foundation.md.
_SMALL = {"epochs": 20.0, "batch_size": 64, "lr": 0.02}
_RESIDUAL = {"epochs": 22.0, "batch_size": 128, "lr": 0.06, "optimizer": "muon", "progressive": 0.6}
# As published for ImageNet, and measured by nobody here: it would take months on this project's machine.
_IMAGENET = {"epochs": 90.0, "batch_size": 256, "lr": 0.1, "weight_decay": 1e-4}
_UNNORMED = {**_IMAGENET, "lr": 0.01, "weight_decay": 5e-4}
_PLAIN = {"epochs": 30.0, "batch_size": 128, "lr": 0.02, "optimizer": "muon"}
_CIFAR_RESNET = "He, Zhang, Ren, Sun (2016), section 4.2; S1.49"
_IMAGENET_RESNET = "He, Zhang, Ren, Sun (2016), table 1; S2.2-6"
_SENET = "Hu, Shen, Sun (2018); S3.52"

_list(
    "models",
    "models",
    (
        "simplenn",
        "simplenn:simplenn",
        "two convolutions, three linear layers",
        "ECE 661, table 1; S1.11-18",
        _SMALL,
    ),
    (
        "alexnet",
        "alexnet:alexnet",
        "8 layers for 224x224, in one tower or two",
        "Krizhevsky et al. (2012); S3.32, S3.34",
        _UNNORMED,
    ),
    ("alexnet-cifar", "alexnet:alexnet_cifar", "8 layers for 32x32", "S3.33; X3.2", _PLAIN),
    *(
        (
            f"vgg{depth}",
            f"vgg:vgg{depth}",
            f"{depth} layers for 224x224",
            "Simonyan, Zisserman (2015); S3.35-36",
            _UNNORMED,
        )
        for depth in (11, 13, 16, 19)
    ),
    (
        "vgg11-cifar",
        "vgg:vgg11_cifar",
        "VGG-A for 32x32, with a small head",
        "S2.25; Santurkar et al. (2018)",
        _PLAIN,
    ),
    ("vgg13-cifar", "vgg:vgg13_cifar", "13 layers for 32x32, with the published head", "S3.37; X3.3", _PLAIN),
    (
        "vgg16-cifar",
        "vgg:vgg16_cifar",
        "16 layers for 32x32, with a small head",
        "Simonyan, Zisserman (2015)",
        _PLAIN,
    ),
    (
        "nin",
        "nin:nin",
        "9 convolutions for 32x32, no linear layer",
        "Lin, Chen, Yan (2014); S3.39; X3.4",
        _PLAIN,
    ),
    (
        "googlenet",
        "googlenet:googlenet",
        "22 layers for 224x224, side by side",
        "Szegedy et al. (2015); S3.43; X3.6",
        _UNNORMED,
    ),
    ("googlenet-cifar", "googlenet:googlenet_cifar", "the same for 32x32", "S3.44; X3.5", _PLAIN),
    (
        "squeezenet",
        "squeezenet:squeezenet",
        "SqueezeNet 1.1: few weights, late pools",
        "Iandola et al. (2016); S1.9",
        _UNNORMED,
    ),
    ("lenet5", "lenet:lenet5", "LeNet-5, modern or as published", "LeCun et al. (1998); X3.1", _SMALL),
    *(
        (f"resnet{depth}", f"resnet:resnet{depth}", f"{depth} layers for 32x32", _CIFAR_RESNET, _RESIDUAL)
        for depth in (20, 32, 44, 56, 110)
    ),
    *(
        (
            f"resnet{depth}",
            f"resnet:resnet{depth}",
            f"{depth} layers for 224x224",
            _IMAGENET_RESNET,
            _IMAGENET,
        )
        for depth in (18, 34, 50, 101, 152)
    ),
    *(
        (
            f"resnet{depth}-cifar",
            f"resnet:resnet{depth}_cifar",
            f"{depth} layers for 32x32, as wide as those for 224x224",
            "S2.8; S3.48",
            _RESIDUAL,
        )
        for depth in (18, 34, 50, 101, 152)
    ),
    (
        "preactresnet18",
        "resnet:preactresnet18",
        "resnet18-cifar with norm and activation before each convolution",
        "He, Zhang, Ren, Sun (2016), Identity Mappings; S3.50",
        _RESIDUAL,
    ),
    (
        "resnet18-pooling",
        "resnet:resnet18_pooling",
        "resnet18-cifar whose classifier sees the means of every block",
        "S2.14",
        _RESIDUAL,
    ),
    (
        "wideresnet28-10",
        "wide_resnet:wideresnet28",
        "28 layers for 32x32, ten times as wide",
        "Zagoruyko, Komodakis (2016)",
        _RESIDUAL,
    ),
    (
        "resnext29",
        "resnext:resnext29",
        "29 layers for 32x32, 8 paths a block",
        "Xie et al. (2017), 5.3",
        _RESIDUAL,
    ),
    (
        "resnext50",
        "resnext:resnext50",
        "50 layers for 224x224, 32 paths a block",
        "Xie et al. (2017); S3.51",
        _IMAGENET,
    ),
    (
        "resnext101",
        "resnext:resnext101",
        "101 layers for 224x224, 32 paths a block",
        "Xie et al. (2017); S3.51",
        _IMAGENET,
    ),
    *(
        (
            f"se-resnet{depth}",
            f"senet:se_resnet{depth}",
            f"resnet{depth} that weighs its maps",
            _SENET,
            _RESIDUAL,
        )
        for depth in (20, 110)
    ),
    *(
        (
            f"se-resnet{depth}",
            f"senet:se_resnet{depth}",
            f"resnet{depth} that weighs its maps",
            _SENET,
            _IMAGENET,
        )
        for depth in (18, 50, 101, 152)
    ),
    (
        "senet154",
        "senet:senet154",
        "the winner of 2017: 152 layers, 64 paths, weighed maps",
        _SENET,
        _IMAGENET,
    ),
    (
        "logistic",
        "baseline:logistic",
        "logistic regression: one linear layer on the pixels",
        "S3.18; Cox (1958)",
        _SMALL,
    ),
    (
        "mlp",
        "baseline:mlp",
        "hidden layers that learn or stay random, and one linear layer",
        "S3.18-19; Belkin et al. (2019)",
        _SMALL,
    ),
)
_list(
    "sources",
    "data",
    (
        "digits",
        "digits:digits",
        "1,797 real handwritten digits, 8x8 scaled to 32x32; ships with scikit-learn",
        "UCI",
    ),
    ("mnist", "idx:mnist", "70,000 handwritten digits, 28x28", "LeCun, Cortes, Burges (1998)"),
    (
        "fashion-mnist",
        "idx:fashion_mnist",
        "70,000 pieces of clothing, 28x28",
        "Xiao, Rasul, Vollgraf (2017)",
    ),
    ("cifar10", "cifar:cifar10", "60,000 colour photographs in 10 classes, 32x32", "Krizhevsky (2009)"),
    ("cifar100", "cifar:cifar100", "60,000 colour photographs in 100 classes, 32x32", "Krizhevsky (2009)"),
    ("synthetic", "synthetic:synthetic", "striped patterns of known difficulty, any size", "convscope"),
    (
        "folder",
        "folder:folder",
        "folder:PATH, a folder of images, one subfolder per class",
        "torchvision layout",
    ),
    (
        "parquet",
        "parquet:parquet",
        "parquet:PATH, Hugging Face columns `image` or `img`, `label`",
        "Hugging Face",
    ),
    ("npz", "npz:npz", "npz:PATH, arrays images, labels and optionally test_images, test_labels", "NumPy"),
)
_list(
    "augmentations",
    "data",
    (
        "crop",
        "augment:crop",
        "pad, black or reflected, and cut out a window of the old size",
        "S1.33; He et al. (2016), 4.2",
    ),
    (
        "flip",
        "augment:flip",
        "mirror left-right with probability p, at random or in turns",
        "S1.33; Jordan (2024)",
    ),
    ("vertical-flip", "augment:vertical_flip", "mirror upside down with probability p", "S3.10"),
    ("shift", "augment:shift", "move by whole pixels, down and across; black comes in", "S3.10"),
    (
        "random-resized-crop",
        "resample:random_resized_crop",
        "a window of random size, shape and place, stretched to the old size",
        "Szegedy et al. (2015), section 6",
    ),
    (
        "rotate",
        "resample:rotate",
        "a small rotation about the centre; black comes in",
        "Simard et al. (2003)",
    ),
    (
        "jitter",
        "colour:jitter",
        "change brightness, contrast, saturation and hue",
        "S3.10; Howard (2013)",
    ),
    (
        "cutout",
        "mixing:cutout",
        "cover a square with the image's mean colour, or with black",
        "DeVries, Taylor (2017)",
    ),
    ("mixup", "mixing:mixup", "average with another image, and so the labels", "Zhang et al. (2018)"),
    (
        "cutmix",
        "mixing:cutmix",
        "a rectangle from another image; labels shared by area",
        "Yun et al. (2019)",
    ),
)
_list(
    "noises",
    "data",
    (
        "symmetric",
        "noise:symmetric",
        "each label wrong with probability `rate`, all others alike",
        "S4.25",
    ),
    ("exact", "noise:exact", "exactly a share `rate` of the labels wrong, all others alike", "S4.25"),
    ("pair", "noise:pair", "each label that of the next class with probability `rate`", "Han et al. (2018)"),
    (
        "matrix",
        "noise:matrix",
        "any K x K matrix: row = true label, column = noisy label",
        "S4.26; Patrini et al. (2017)",
    ),
)
_list(
    "optimizers",
    "train",
    (
        "sgd",
        "optim:sgd",
        "gradient descent with momentum, optionally Nesterov's",
        "S3.54; Sutskever et al. (2013)",
    ),
    ("muon", "muon:muon", "orthogonalised momentum for convolutions", "Jordan et al. (2024)"),
    (
        "adam",
        "optim:adam",
        "adaptive moments, optionally AMSGrad",
        "S3.57, S3.59; Kingma, Ba (2015); Reddi et al. (2018)",
    ),
    (
        "adamw",
        "optim:adamw",
        "adaptive moments, weight decay beside the gradient",
        "Loshchilov, Hutter (2019)",
    ),
    (
        "rmsprop",
        "optim:rmsprop",
        "gradient divided by its running root mean square",
        "S3.56; Tieleman, Hinton (2012)",
    ),
)
_list(
    "schedules",
    "train",
    ("constant", "schedule:constant", "the same rate throughout", "S1.28"),
    ("step", "schedule:step_decay", "multiply by `factor` every `every` epochs", "S1.27, S1.53"),
    (
        "milestones",
        "schedule:milestones",
        "multiply by `factor` at each of the epochs `at`",
        "S2.21; He et al. (2016), 4.2",
    ),
    ("exponential", "schedule:exponential", "multiply by `gamma` once per epoch", "S3.63, E3.7"),
    ("inverse", "schedule:inverse", "C/t in epoch t, from 1", "S3.64, E3.7"),
    ("inverse-sqrt", "schedule:inverse_sqrt", "C/sqrt(t) at step t, from 1", "S3.64"),
    ("cosine", "schedule:cosine", "half a cosine from the peak to zero", "S3.65; Loshchilov, Hutter (2017)"),
    (
        "warm-restarts",
        "schedule:warm_restarts",
        "half cosines one after another, each `multiplier` times as long",
        "S3.65; Loshchilov, Hutter (2017)",
    ),
    ("linear", "schedule:linear", "a straight line from the peak to zero", "Li, Yumer, Ramanan (2020)"),
    (
        "one-cycle",
        "schedule:one_cycle",
        "up to the peak, then down to almost zero, half cosines",
        "Smith, Topin (2018)",
    ),
)
_list(
    "losses",
    "evaluate",
    (
        "cross-entropy",
        "losses:cross_entropy",
        "-log of the probability of the true class, optionally smoothed",
        "S1.24, S4.3; Szegedy et al. (2016)",
    ),
    ("mse", "losses:mse", "mean squared distance of the logits to one-hot", "S2.16, S4.8"),
    ("bce", "losses:bce", "a yes-or-no cross-entropy for each class, averaged", "S4.8"),
    ("l1", "losses:l1", "mean absolute distance of the logits to one-hot", "S4.8"),
)
_list(
    "activations",
    "models",
    ("relu", "blocks:relu", "max(0, x)", "S4.6"),
    ("leaky-relu", "blocks:leaky_relu", "max(0, x) + 0.01 min(x, 0)", "S4.6"),
    ("elu", "blocks:elu", "max(0, x) + min(exp(x) - 1, 0)", "S4.6"),
    ("gelu", "blocks:gelu", "x times the normal distribution function of x", "Hendrycks, Gimpel (2016)"),
    ("swish", "blocks:swish", "x sigmoid(x)", "S1.41, S2.17; Ramachandran et al. (2017)"),
    ("mish", "blocks:mish", "x tanh(log(1 + exp(x)))", "S2.18; Misra (2019)"),
    ("tanh", "blocks:tanh", "hyperbolic tangent", "S3.68"),
    ("scaled-tanh", "blocks:scaled_tanh", "1.7159 tanh(2x/3)", "LeCun et al. (1998), section II.B"),
)
_list(
    "inits",
    "models",
    (
        "torch",
        "init:torch_default",
        "what the framework does: uniform, bound 1/sqrt(fan in)",
        "PyTorch; S3.73",
    ),
    ("uniform", "init:uniform", "uniform within +-bound in every layer", "S4.10; Keras"),
    ("normal", "init:normal", "normal, the same deviation in every layer", "Keras; Krizhevsky et al. (2012)"),
    (
        "truncated-normal",
        "init:truncated_normal",
        "normal, nothing beyond two deviations",
        "S4.12; Keras",
    ),
    (
        "lecun",
        "init:lecun",
        "variance 1/fan in, normal or uniform",
        "S3.68, S3.71; LeCun et al. (1998), Efficient BackProp",
    ),
    (
        "xavier",
        "init:xavier",
        "variance 2/(fan in + fan out), normal or uniform",
        "S3.69; Glorot, Bengio (2010)",
    ),
    (
        "kaiming",
        "init:kaiming",
        "variance 2/fan, normal or uniform; auto: fan out, linear layers fan in",
        "S3.70; He et al. (2015)",
    ),
    (
        "orthogonal",
        "init:orthogonal",
        "rows at right angles, of length `gain`",
        "Saxe, McClelland, Ganguli (2014)",
    ),
    (
        "dirac",
        "init:dirac",
        "the identity as far as there is one, else what the framework does",
        "Zagoruyko, Komodakis (2017); Jordan (2024)",
    ),
)
