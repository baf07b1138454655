"""Thumbnails of the folder `Images`: small JPEGs, the latest of them kept in memory."""

import threading
from collections import OrderedDict

from cifar_utils.apps.web.answers import encode
from cifar_utils.apps.web.limits import THUMBNAIL_SIDE
from cifar_utils.apps.web.reading import read_thumbnail

KEPT = 300  # thumbnails of about 15 kB


class Thumbnails:
    """Makes thumbnails, and remembers those asked for last.

    Args:
        folder: An `images_folder.ImagesFolder`.
    """

    def __init__(self, folder):
        self._folder, self._kept, self._lock = folder, OrderedDict(), threading.Lock()

    def make(self, name):
        """Return a thumbnail of a picture as it is now.

        Args:
            name: A name of the folder's listing.

        Returns:
            `(jpeg, version)`: its bytes, and a text that changes whenever the picture does.

        Raises:
            ImageError: If the folder has no such picture, or it cannot be read.
        """
        key = name, self._folder.find_version(name)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key], key[1]
        with self._folder.open(name) as stored:
            jpeg = encode(read_thumbnail(stored.data, THUMBNAIL_SIDE).small, "JPEG")
        with self._lock:
            self._kept[name, stored.version] = jpeg
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return jpeg, stored.version
