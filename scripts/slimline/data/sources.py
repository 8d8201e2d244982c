"""The published files of the datasets that slimline knows, pinned by checksum.

Checksums and sizes: the publishers' files as TensorFlow Datasets pins them (`url_checksums/`); those of
MNIST and Fashion-MNIST stand for the same files as torchvision's MD5 sums, those of CIFAR for the
*binary* versions. The Python versions of CIFAR are pickles, which slimline never loads.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceFile:
    """One published file.

    Attributes:
        name: file name in `raw/` and in a mirror.
        sha256: its SHA-256.
        size_bytes: its size.
        urls: public addresses, https only, in the order in which they are tried.
    """

    name: str
    sha256: str
    size_bytes: int
    urls: tuple[str, ...]


def _published(bases: tuple[str, ...], files: dict[str, tuple[int, str]]) -> tuple[SourceFile, ...]:
    return tuple(
        SourceFile(name, sha256, size_bytes, tuple(base + name for base in bases))
        for name, (size_bytes, sha256) in files.items()
    )


SOURCES: dict[str, tuple[SourceFile, ...]] = {
    "mnist": _published(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train-images-idx3-ubyte.gz": (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            "train-labels-idx1-ubyte.gz": (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            "t10k-images-idx3-ubyte.gz": (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            "t10k-labels-idx1-ubyte.gz": (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        },
    ),
    "fashion-mnist": _published(
        (
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte.gz": (
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            "train-labels-idx1-ubyte.gz": (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            "t10k-images-idx3-ubyte.gz": (
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            "t10k-labels-idx1-ubyte.gz": (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        },
    ),
    "cifar10": _published(
        ("https://www.cs.toronto.edu/~kriz/",),
        {
            "cifar-10-binary.tar.gz": (
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            )
        },
    ),
    "cifar100": _published(
        ("https://www.cs.toronto.edu/~kriz/",),
        {
            "cifar-100-binary.tar.gz": (
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            )
        },
    ),
}

# SHA-256 over the uint8 images and the int64 labels that `digits.read_digits` makes of scikit-learn's arrays.
DIGITS_SHA256 = "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"
