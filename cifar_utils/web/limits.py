"""What the page accepts, in one place: the pictures' own limits are those of `pictures`."""

MAX_REQUEST_BYTES = 50_000_000  # two of the largest pictures, or dozens of usual ones
MAX_FILES = 20
MAX_TOP = 10  # classes; there are no more
DEFAULT_TOP = 3

# Bodies of requests lie in memory until they are answered, since nothing goes to disk. What does
# not fit waits, unread, in the network's buffers.
MAX_WAITING_BYTES = 64_000_000
MAX_CONNECTIONS = 200
REQUEST_SECONDS = 120  # from a request's first byte to its last
IDLE_SECONDS = 30  # a connection on which nothing happens

# Decoding takes 4 bytes a pixel, twice. Together this many pixels are decoded at a time in the
# server; a larger picture goes to a process of its own, one at a time.
PIXELS_AT_A_TIME = 8_000_000
READER_SECONDS = 60

SHOWN_SIDE = 512  # pixels; the picture and its heat map as an answer shows them
THUMBNAIL_SIDE = 320  # pixels; twice what a card is wide, for sharp screens
PICTURES_PER_PAGE = 60
