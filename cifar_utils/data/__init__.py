"""Find, fetch, verify and read CIFAR-10; the built-in synthetic set. Start with `load_dataset`."""

from cifar_utils.data.archive import CLASS_NAMES
from cifar_utils.data.dataset import (
    DATASET_NAMES,
    GET_CIFAR10,
    Dataset,
    describe_sources,
    find_dataset,
    load_dataset,
    load_local_dataset,
)

__all__ = [
    "CLASS_NAMES",
    "DATASET_NAMES",
    "GET_CIFAR10",
    "Dataset",
    "describe_sources",
    "find_dataset",
    "load_dataset",
    "load_local_dataset",
]
