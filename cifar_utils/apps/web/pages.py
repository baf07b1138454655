"""What people look at: the page, its answers without JavaScript, thumbnails, the API's page."""

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for

from cifar_utils.apps.web.answers import Options
from cifar_utils.apps.web.limits import PICTURES_PER_PAGE
from cifar_utils.apps.web.openapi import make_document
from cifar_utils.apps.web.uploads import RequestError, collect_uploads, keep
from cifar_utils.errors import ImageError
from cifar_utils.inference.samples import list_samples

SHOWN_CLASSES = 5
FOREVER = "private, max-age=31536000, immutable"
UNREADABLE = (  # what a card shows instead of a thumbnail
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 160"><rect width="160" height="160"'
    ' fill="#8a8a8a"/><path d="M60 60l40 40m0-40l-40 40" stroke="#fff" stroke-width="6"'
    ' stroke-linecap="round"/><text x="80" y="135" fill="#fff" font-family="sans-serif"'
    ' font-size="14" text-anchor="middle">cannot be read</text></svg>'
)

pages = Blueprint("pages", __name__)


@pages.get("/")
def show_page():
    """The page, with the folder as it is now."""
    return render_index()


@pages.get("/predict")
def go_back():
    """Where a browser that reloads the answers' address ends up."""
    return redirect(url_for("pages.show_page"))


@pages.post("/predict")
def show_answers():
    """The page with answers, for browsers without JavaScript."""
    site = current_app.extensions["site"]
    samples = _collect_samples(request.form.getlist("sample"))
    try:
        uploads = collect_uploads(request, site.folder) + samples
    except RequestError as error:
        if not samples or error.status != 400:  # 400: no picture but the samples
            return render_index(problem=str(error)), error.status
        uploads = samples
    options = Options(SHOWN_CLASSES, "heat_map" in request.form, True)
    rows, status = site.classify(uploads, options)
    return render_index(rows), status


def render_index(rows=(), problem=""):
    """Render the page.

    Args:
        rows: Answers, as `answers.answer` returns them.
        problem: Why there is none.
    """
    folder = current_app.extensions["site"].folder
    listing = folder.list()
    count = max(1, -(-len(listing.names) // PICTURES_PER_PAGE))
    wanted = request.args.get("page", "1")
    number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 6 else 1
    number = min(max(number, 1), count)
    names = listing.names[(number - 1) * PICTURES_PER_PAGE : number * PICTURES_PER_PAGE]
    return render_template(
        "index.html",
        pictures=[(name, folder.find_version(name)) for name in names],
        total=len(listing.names),
        folder_problem=listing.problem,
        folder_name=folder.path.name or str(folder.path),
        page_number=number,
        page_count=count,
        samples=[] if names else list(list_samples()),
        rows=rows,
        problem=problem,
    )


@pages.get("/thumbnails/<name>")
def show_thumbnail(name):
    """A small JPEG of a picture in the folder."""
    site = current_app.extensions["site"]
    try:
        jpeg, version = site.thumbnails.make(name)
    except ImageError:
        response = make_response(UNREADABLE, 422)
        response.mimetype = "image/svg+xml"
        return response
    response = make_response(jpeg)
    response.mimetype = "image/jpeg"
    response.set_etag(version)
    # The page names the version in the address; then the answer never changes.
    response.headers["Cache-Control"] = (
        FOREVER if request.args.get("v") == version else "private, no-cache"
    )
    return response.make_conditional(request)


@pages.get("/samples/<name>")
def show_sample(name):
    """One of the pictures that ship with the package."""
    path = list_samples().get(name)
    if path is None:
        raise RequestError("There is no such sample picture.", 404)
    response = make_response(path.read_bytes())
    response.mimetype = "image/jpeg"
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@pages.get("/api")
def show_api():
    """The OpenAPI document as a page."""
    return render_template("api.html", document=make_document())


def _collect_samples(names):
    """Return sample pictures by their names; what is none is left out."""
    known = list_samples()
    return [keep(f"{name}.jpg", known[name].read_bytes()) for name in names if name in known]
