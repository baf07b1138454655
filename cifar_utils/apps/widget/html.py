"""Predictions as HTML for notebooks. It can be read without colour, styles or scripts.

Every text of a prediction is made from the row that `Prediction.to_dict` returns.
"""

import base64
import html
import io

from PIL import Image

from cifar_utils.errors import CifarError

THUMBNAIL_SIDE = 192  # pixels; enough to recognise the photo, a few kB as JPEG
VIEW_SIDE = 128  # pixels; the 32×32 view, four times enlarged
# The fallbacks are for pages without JupyterLab's colours (Voilà, VS Code, Colab): `inherit`, and
# greys that keep their contrast on light and on dark backgrounds.
TEXT_COLOUR = "var(--jp-ui-font-color1, inherit)"
BAR_COLOUR = "var(--jp-brand-color1, #0072b2)"
TRACK_COLOUR = "var(--jp-border-color2, #8884)"
ERROR_COLOUR = "var(--jp-error-color1, #d55e00)"
PIXELATED = f"width:{VIEW_SIDE}px;height:{VIEW_SIDE}px;image-rendering:pixelated"
LEFT, RIGHT = "text-align:left;font-weight:normal;padding-right:12px", "text-align:right"
TILES = '<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">'


def render_prediction_html(prediction, name, photo=None, top=5) -> str:
    """Render a prediction: the photo, the network's view of it, and the most probable classes.

    Of the `photo`, a PIL image, a thumbnail is embedded, with a line around what the network was
    given; None shows none.
    """
    row = prediction.to_dict(name, top)
    verdict = f"{html.escape(row['label'])}, {row['probability']:.1%}"
    if row["unsure"]:
        verdict = f"<b>unsure</b>. Perhaps {verdict}; perhaps none of the ten classes."
    images = "" if photo is None else _thumbnail(photo, prediction.box, name)
    view_alt = "What the network saw of it: 32 by 32 pixels"
    images += render_image_html(Image.fromarray(prediction.view), view_alt, PIXELATED)
    classes = "".join(map(_class_row, row["classes"]))
    note = f"<p>{html.escape(row['note'])}</p>" if row.get("note") else ""
    name = html.escape(name)
    return (
        f'<figure style="margin:8px 0;padding-top:8px;color:{TEXT_COLOUR};'
        f'border-top:1px solid {TRACK_COLOUR}">'
        f"<figcaption><b>{name}</b>: {verdict}</figcaption>{note}{TILES}{images}"
        f'<table aria-label="Most probable classes of {name}">'
        '<thead><tr><th scope="col" style="text-align:left">class</th>'
        f'<th scope="col" style="{RIGHT}">probability</th><td></td></tr></thead>'
        f"<tbody>{classes}</tbody></table></div></figure>"
    )


def render_diagnosis_html(prediction, orientation, detail, diagnosis) -> str:
    """Render why a prediction may be wrong: a `Diagnosis`, and two sentences on file and photo."""
    view = render_image_html(Image.fromarray(prediction.view), "The 32 by 32 pixels", PIXELATED)
    hints = "".join(f"<li>{html.escape(hint)}</li>" for hint in diagnosis.hints)
    parts = [
        f"<ul>{hints}</ul>"
        if hints
        else "<p>Nothing stands out: turned and cut in other ways, the prediction stays the same."
        " If it is wrong, the network was trained on too few images like this.</p>",
        f"<h4>Which side is up?</h4><p>{html.escape(orientation)} Turned, the prediction would be:"
        "</p>",
        _tiles(diagnosis.turns),
        "<h4>Which part was used?</h4><p>The most confident part decides.</p>",
        _tiles(diagnosis.crops),
        f"<h4>What was left of it?</h4><p>{html.escape(detail)}</p>{view}",
        "<h4>What is like it?</h4>",
    ]
    if diagnosis.nearest:
        parts += ["<p>The training images with the most similar pixels, and their classes:</p>"]
        parts += [_tiles(diagnosis.nearest, "image-rendering:pixelated;width:64px;height:64px")]
    else:
        parts += ["<p>The training images are not on this machine.</p>"]
    return f'<div style="color:{TEXT_COLOUR}">{"".join(parts)}</div>'


def render_table_html(rows, spreadsheet) -> str:
    """Render all rows as a table, with a link that saves them: the text `spreadsheet`."""
    body = ""
    for row in rows:
        if "error" in row:
            cells = f'<td colspan="2">{html.escape(row["error"])}</td>'
        else:
            label = f"{'unsure, perhaps ' if row['unsure'] else ''}{html.escape(row['label'])}"
            cells = f'<td>{label}</td><td style="{RIGHT}">{row["probability"]:.1%}</td>'
        name = html.escape(row["picture"])
        body += f'<tr><th scope="row" style="{LEFT}">{name}</th>{cells}</tr>'
    data = base64.b64encode(spreadsheet.encode()).decode("ascii")
    return (
        f'<details style="color:{TEXT_COLOUR}"><summary>All answers as a table ({len(rows)})'
        "</summary><table><thead><tr>"
        '<th scope="col" style="text-align:left">photo</th>'
        f'<th scope="col" style="text-align:left">answer</th><th scope="col" style="{RIGHT}">'
        f"probability</th></tr></thead><tbody>{body}</tbody></table></details>"
        '<a download="answers.csv" style="text-decoration:underline"'
        f' href="data:text/csv;charset=utf-8;base64,{data}">Download answers.csv</a>'
        f'<small style="color:{TEXT_COLOUR}"> for Excel and other spreadsheets; for programs:'
        " python -m cifar_utils predict --csv</small>"
    )


def render_heat_html(drawn, name, label) -> str:
    """Render a photo with its heat map for a class, and how to read it."""
    alt = f"{name}: what spoke for {label} keeps its colours, the rest is dark and grey"
    return (
        f"<p>In colour: what spoke for <b>{html.escape(label)}</b>. A patch was blurred away at"
        " every place in turn; the prediction came from where that cost the class most. If it is"
        " not the object, be careful with the prediction.</p>"
        + render_image_html(drawn, alt, "max-width:100%", "JPEG")
    )


def render_text_html(text, tag="div", more="", loud=False) -> str:
    """Render a plain text, in a thick frame if it is loud; `more` are attributes."""
    frame = f"border:3px solid {ERROR_COLOUR};padding:8px" if loud else ""
    return f'<{tag} {more} style="color:{TEXT_COLOUR};{frame}">{html.escape(text)}</{tag}>'


def render_error_html(name, error) -> str:
    """Render why a photo (or anything else, called `name`) failed, and what to do next."""
    if isinstance(error, CifarError):
        reason = str(error)
    else:
        reason = (
            f"{type(error).__name__}: {error}. This should not happen: try another photo, then "
            "restart the kernel; 'python -m cifar_utils doctor' lists what this machine lacks."
        )
    return (
        f'<div role="alert" style="margin:8px 0;padding:4px 8px;color:{TEXT_COLOUR};'
        f'border-left:4px solid {ERROR_COLOUR}"><b>{html.escape(str(name))} was not classified.</b>'
        f" {html.escape(reason)}</div>"
    )


def render_image_html(image, alt, style="", kind="PNG") -> str:
    """Embed a PIL image, as a "PNG" or "JPEG" file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    source = f"data:image/{kind.lower()};base64,{data}"
    return f'<img alt="{html.escape(alt)}" style="{style}" src="{source}">'


def _thumbnail(photo, box, name):
    """The photo, small, with a line around a box of it."""
    scale = min(1, THUMBNAIL_SIDE / max(photo.size))
    small = photo.resize([max(1, round(side * scale)) for side in photo.size])
    left, top, right, bottom = box
    share = [100 * edge / photo.size[axis % 2] for axis, edge in enumerate(box)]
    line = (
        f"position:absolute;left:{share[0]:.1f}%;top:{share[1]:.1f}%;box-sizing:border-box;"
        f"width:{share[2] - share[0]:.1f}%;height:{share[3] - share[1]:.1f}%;"
        "border:2px dashed #fff;outline:1px solid #000"
    )
    whole = (right - left, bottom - top) == photo.size
    mark = "" if whole else f'<div aria-hidden="true" style="{line}"></div>'
    image = render_image_html(small, f"The photo {name}", kind="JPEG")
    return f'<div style="position:relative;line-height:0">{image}{mark}</div>'


def _tiles(tiles, style=""):
    """Small images in a row, each with its caption."""
    figures = "".join(
        '<figure style="margin:0;max-width:120px">'
        f"{render_image_html(image, '', style)}<figcaption>{html.escape(caption)}</figcaption>"
        "</figure>"
        for image, caption in tiles
    )
    return f"{TILES}{figures}</div>"


def _class_row(part):
    """One class as a table row; the bar repeats the number, so a screen reader skips it."""
    share = f"{part['probability']:.1%}"
    bar = (
        f'<div aria-hidden="true" style="width:160px;height:10px;background:{TRACK_COLOUR}">'
        f'<div style="width:{share};height:10px;background:{BAR_COLOUR}"></div></div>'
    )
    return (
        f'<tr><th scope="row" style="{LEFT}">{html.escape(part["class"])}</th>'
        f'<td style="{RIGHT}">{share}</td><td>{bar}</td></tr>'
    )
