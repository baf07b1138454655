"""What the page accepts, in one place: the pictures' own limits are those of `pictures`."""

MAX_REQUEST_BYTES = 30_000_000  # the largest picture and a few more, or twenty usual ones
MAX_FILES = 20
MAX_TOP = 10  # classes; there are no more
DEFAULT_TOP = 3

# The server holds about 125 MB of code, weights and plans for some sizes of batches. These bounds
# keep it under 200 MB. Bodies of requests lie in memory until they are answered, since nothing goes
# to disk; what does not fit waits, unread, in the network's buffers.
MAX_WAITING_BYTES = 32_000_000
MAX_CONNECTIONS = 200
REQUEST_SECONDS = 120  # from a request's first byte to its last
IDLE_SECONDS = 30  # a connection on which nothing happens

# Decoding takes 8 to 16 bytes a pixel. Together this many pixels are decoded at a time in the
# server; a larger picture goes to a process of its own, one at a time.
PIXELS_AT_A_TIME = 2_500_000  # a full-HD screenshot fits
READER_SECONDS = 60
# Nor is a file of more than these bytes decoded in the server. Comments and passes without end can
# take a decoder seconds a megabyte, and only the other process has a limit of time.
FEW_BYTES = 1_000_000
BYTES_PER_PIXEL = 2  # a JPEG has less than one; a photograph as PNG up to three

SHOWN_SIDE = 512  # pixels; the picture and its heat map as an answer shows them
THUMBNAIL_SIDE = 320  # pixels; twice what a card is wide, for sharp screens
PICTURES_PER_PAGE = 60
