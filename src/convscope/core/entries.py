"""What is there to be picked by name?

One line per thing: its name, `module:function`, one sentence, its source; for
models also the default recipe where it differs, and the size of the images it
was published for where that is not 32x32.  Text only, so that `--help` and
completion cost no heavy import.  What the lines mean is in catalog.py.
"""

from typing import Any

ENTRIES: dict[str, tuple[str, tuple[tuple[Any, ...], ...]]] = {}
"""Kind -> the part of the package its functions are in, and its lines."""


def _list(kind: str, package: str, *lines: tuple[Any, ...]) -> None:
    ENTRIES[kind] = (package, lines)


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
        "8 layers for 224x224, in one tower or the published two",
        "Krizhevsky et al. (2012); S3.32, S3.34",
        _UNNORMED,
        224,
    ),
    (
        "alexnet-cifar",
        "alexnet:alexnet_cifar",
        "9 layers for 32x32: six convolutions and the published head",
        "S3.33; X3.2",
        _PLAIN,
    ),
    *(
        (
            f"vgg{depth}",
            f"vgg:vgg{depth}",
            f"{depth} layers for 224x224",
            "Simonyan, Zisserman (2015); S3.35-36",
            _UNNORMED,
            224,
        )
        for depth in (11, 13, 16, 19)
    ),
    (
        "vgg11-cifar",
        "vgg:vgg11_cifar",
        "VGG-A for 32x32 with a small head",
        "S2.25; Santurkar et al. (2018)",
        _PLAIN,
    ),
    (
        "vgg13-cifar",
        "vgg:vgg13_cifar",
        "10 convolutions and the published head for 32x32",
        "S3.37; X3.3",
        _PLAIN,
    ),
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
        {**_PLAIN, "weight_decay": 1e-5},
    ),
    (
        "googlenet",
        "googlenet:googlenet",
        "22 layers of modules side by side, for 224x224",
        "Szegedy et al. (2015); S3.43; X3.6",
        _UNNORMED,
        224,
    ),
    (
        "googlenet-cifar",
        "googlenet:googlenet_cifar",
        "GoogLeNet's modules for 32x32",
        "S3.44; X3.5; E3.16",
        _PLAIN,
    ),
    (
        "squeezenet",
        "squeezenet:squeezenet",
        "SqueezeNet 1.1: few weights, late pools",
        "Iandola et al. (2016); S1.9",
        _UNNORMED,
        224,
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
            224,
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
        224,
    ),
    (
        "resnext101",
        "resnext:resnext101",
        "101 layers for 224x224, 32 paths a block",
        "Xie et al. (2017); S3.51",
        _IMAGENET,
        224,
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
            224,
        )
        for depth in (18, 50, 101, 152)
    ),
    (
        "senet154",
        "senet:senet154",
        "the winner of 2017: 152 layers, 64 paths, weighed maps",
        _SENET,
        _IMAGENET,
        224,
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
_list(
    "diagnostics",
    "diagnostics",
    (
        "confusion",
        "confusion:confusion",
        "which classes are taken for which, with examples, symmetry and the surest errors",
        "S4.18-24; Bowker (1948)",
    ),
    (
        "calibration",
        "calibration:calibration",
        "how far confidence and accuracy lie apart, and what one temperature changes",
        "Guo et al. (2017)",
    ),
    (
        "overfitting",
        "overfitting:overfitting",
        "the picture of a run: curves, gap, best epoch, trend, descents",
        "S3.17, S3.20, S3.22; Nakkiran et al. (2020)",
    ),
    (
        "features",
        "features:features",
        "maps after every block, and how much they still look like the image",
        "S2.20",
    ),
    ("filters", "filters:filters", "the filters of the first layer", "Krizhevsky et al. (2012), figure 3"),
    (
        "grad-cam",
        "attribution:grad_cam",
        "where a late layer sees what speaks for a class",
        "Selvaraju et al. (2017)",
    ),
    (
        "input-gradient",
        "attribution:input_gradients",
        "how the logit changes with each pixel",
        "Simonyan et al. (2014)",
    ),
    (
        "maximise",
        "maximise:maximise",
        "images that a class or unit answers most to",
        "Erhan et al. (2009); Simonyan et al. (2014); Mahendran, Vedaldi (2015)",
    ),
    (
        "embedding",
        "embedding:embedding",
        "the features before the last layer in the plane",
        "van der Maaten, Hinton (2008)",
    ),
    ("weights", "weights:weights", "histograms, L1 and L2 norms and sparsity of every layer", "S1.47"),
    (
        "activations",
        "activations:activations",
        "variance forward and back by depth, zeros and dead units",
        "S1.7, S3.72; Glorot, Bengio (2010)",
    ),
    (
        "moments",
        "moments:moments",
        "mean and variance of what enters layers and leaves batch norms",
        "S3.84; Ioffe, Szegedy (2015)",
    ),
    (
        "covariate-shift",
        "shift:covariate_shift",
        "how updates of the layers before change a layer's gradient",
        "S3.84; Santurkar et al. (2018), definition 2.1",
    ),
    ("rank", "rank:rank", "effective and stable rank of weights and features", "Roy, Vetterli (2007)"),
    (
        "robustness",
        "robustness:robustness",
        "accuracy under noise and after a gradient step",
        "Goodfellow et al. (2015)",
    ),
    (
        "landscape",
        "landscape:landscape",
        "the loss over a plane through the weights, filter-normalised or along the trajectory",
        "Li et al. (2018), sections 4, 7; S1.10",
    ),
    (
        "landscape-line",
        "landscape_line:landscape_line",
        "the loss along random lines through the weights, filter-normalised",
        "Li et al. (2018), section 4",
    ),
    (
        "smoothness",
        "smoothness:smoothness",
        "loss and gradient when the weights move along the gradient; effective beta",
        "Santurkar et al. (2018), 3.1; S2.26-36",
    ),
    (
        "curvature",
        "curvature:curvature",
        "largest eigenvalues and trace of the Hessian",
        "Lanczos (1950); Hutchinson (1990); S3.67",
    ),
    (
        "snapshot",
        "snapshot:snapshot",
        "the weights at this moment, for the trajectory of a landscape",
        "Li et al. (2018), section 7",
    ),
)
_list(
    "topics",
    "verify",
    (
        "convolution",
        "convolution:convolution",
        "a sum, a banded matrix with shared weights, a size and a count",
        "S1.8; S3.2-7; S3.38-40",
    ),
    (
        "equivariance",
        "equivariance:equivariance",
        "what becomes of a layer's output when the image moves",
        "S3.1, S3.8, S3.42",
    ),
    (
        "dropout",
        "dropout:dropout",
        "before and after an activation, on average, and in evaluation",
        "S3.27-31",
    ),
    (
        "architectures",
        "architectures:architectures",
        "which blocks and networks compute the same",
        "S3.41-52",
    ),
    (
        "parameters",
        "parameters:parameters",
        "parameters, multiply-adds and layers as the documents print them",
        "S1.16-18; S3.34-36; E1.3, E2.1, E3.4, E3.16",
    ),
    (
        "batch-norm",
        "batch_norm:batch_norm",
        "in training, in evaluation with both statistics, and folded",
        "S1.1, E1.1; S3.79-88",
    ),
    (
        "counting",
        "counting:counting",
        "accuracies are counts, entropy is largest at uniform, losses start at ln K",
        "S3.16; E1.6, E4.3",
    ),
    (
        "weight-decay",
        "weight_decay:weight_decay",
        "weight decay beside an L2 penalty, coupled and decoupled; L1 beside L2",
        "S1.6, S3.24-26, E1.2, E3.6",
    ),
    (
        "optimizers",
        "optimizers:optimizers",
        "every optimizer beside its formula and torch's; starts, conditioning, convergence",
        "S3.54-61, S3.66, E2.6, E3.10",
    ),
    (
        "schedules",
        "schedules:schedules",
        "every schedule beside its formula and torch's scheduler",
        "S1.27, S3.63-65, E3.7, E3.13",
    ),
    (
        "initialisation",
        "initialisation:initialisation",
        "which starting weights keep variances through depth; fans",
        "S3.68-74, S4.12, E3.15",
    ),
    (
        "autodiff",
        "autodiff:autodiff",
        "forward and reverse mode, orders of multiplication, costs",
        "S1.2, S3.75-78, E3.8, E3.11",
    ),
    (
        "combining",
        "combining:combining",
        "ensembles, dropout as one, test-time views, averaged weights",
        "S1.3, S3.31, S3.89, S3.91, E1.9",
    ),
    (
        "functions",
        "functions:functions",
        "activations and losses beside their formulas, with gradients",
        "S1.41, S2.17-18, S4.6-8, E1.7, E4.4, E4.9",
    ),
    (
        "smoothness",
        "smoothness:smoothness",
        "what Lipschitz constant and beta measure, and their proxies do not",
        "S2.28-33, E2.8-10",
    ),
    (
        "published",
        "published:published",
        "what the printed numbers can bear",
        "S1.35-45, S4.10-11, E1.4, E1.12, E2.5, E4.6-7",
    ),
)
_list(
    "studies",
    "studies.library",
    ("simplenn-decay", "simplenn:simplenn_decay", "learning-rate decay", "S1.28-30"),
    ("simplenn-augment", "simplenn:simplenn_augment", "augmentation", "S1.35-36"),
    ("simplenn-norm", "simplenn:simplenn_norm", "batch norm at the default rate", "S1.38"),
    ("simplenn-norm-rates", "simplenn:simplenn_norm_rates", "batch norm by learning rate", "S1.38-40"),
    ("simplenn-swish", "simplenn:simplenn_swish", "Swish against ReLU", "S1.42"),
    (
        "simplenn-rectifiers",
        "simplenn:simplenn_rectifiers",
        "dead units: ReLU, leaky ReLU and ELU",
        "S1.7, S4.6",
    ),
    ("simplenn-rate", "simplenn:simplenn_rate", "learning rates from 0.001 to 1", "S1.43-44"),
    ("simplenn-l2", "simplenn:simplenn_l2", "L2 from 0 to 0.01", "S1.45, E1.4"),
    ("simplenn-l1", "simplenn:simplenn_l1", "L1 against L2: sparsity", "S1.6, S1.46-47"),
    ("simplenn-dropout", "simplenn:simplenn_dropout", "dropout by L-norm", "S1.4-5"),
    (
        "simplenn-techniques",
        "simplenn:simplenn_techniques",
        "techniques ranked by what is lost without each",
        "S1.59",
    ),
    (
        "resnet20-schedules",
        "resnet20:resnet20_schedules",
        "ResNet-20: four schedules of the learning rate, and none",
        "S1.53-54",
    ),
    ("resnet20-rate-decay", "resnet20:resnet20_rate_decay", "ResNet-20: learning rate by decay", "S1.55"),
    ("resnet20-l2", "resnet20:resnet20_l2", "ResNet-20: L2 of 0, 1e-4 and 1e-2", "S1.56"),
    ("resnet20-swish", "resnet20:resnet20_swish", "ResNet-20: Swish against ReLU", "S1.57"),
    (
        "resnet20-norm-augment",
        "resnet20:resnet20_norm_augment",
        "ResNet-20: batch norm and augmentation, each left out",
        "S1.58",
    ),
    (
        "resnet20-adam",
        "resnet20:resnet20_adam",
        "ResNet-20: four optimizers, three learning rates each",
        "S1.60, S2.15, S3.60, S3.66, E2.6",
    ),
    (
        "resnet20-momentum",
        "resnet20:resnet20_momentum",
        "ResNet-20: momentum from 0 to 0.99, three learning rates each",
        "S1.60",
    ),
    ("resnet20-l1", "resnet20:resnet20_l1", "ResNet-20: L1 against L2, sparsity", "S1.6, S1.60"),
    (
        "resnet20-short",
        "resnet20:resnet20_short",
        "ResNet-20 in ten epochs: techniques ranked by what is lost without each",
        "S1.53-59",
    ),
    (
        "depthwise",
        "depthwise:depthwise",
        "ResNet-20 with separable convolutions: multiply-adds, accuracy, seconds",
        "S1.8, E1.3",
    ),
    ("lenet5-init", "lenet5:lenet5_init", "initialisation, rate and decay as printed", "S4.9-12, E4.6"),
    (
        "lenet5-init-factorial",
        "lenet5:lenet5_init_factorial",
        "initialisation by rate by decay",
        "S4.9, E4.6",
    ),
    (
        "lenet5-sets",
        "lenet5:lenet5_sets",
        "LeNet-5 on the three sets, and what it confuses",
        "S4.14-17, S4.20-22",
    ),
    ("lenet5-noise", "lenet5:lenet5_noise", "label noise by activation", "S4.27-28, E4.7"),
    (
        "vgg-norm-rates",
        "vgg:vgg_norm_rates",
        "VGG-A at a quarter of its width: batch norm by learning rate",
        "S2.25-28, S2.35, X2.1",
    ),
    (
        "vgg-norm-rates-full",
        "vgg:vgg_norm_rates_full",
        "VGG-A: batch norm by learning rate",
        "S2.25-28, S2.35, X2.1",
    ),
    ("double-descent", "double_descent:double_descent", "risk of a perceptron over its width", "S3.18"),
    (
        "double-descent-noise",
        "double_descent:double_descent_noise",
        "risk of a perceptron over its width, a fifth of the labels wrong",
        "S3.18",
    ),
)
