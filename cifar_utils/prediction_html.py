"""A prediction as HTML, for whatever shows HTML: the widget, a notebook's output, a web page."""

import base64
import html
import io

from PIL import Image

from cifar_utils.errors import CifarError

THUMBNAIL_SIDE = 192  # pixels; enough to recognise the picture, a few kB as JPEG
VIEW_SIDE = 128  # the 32×32 view, four times enlarged
# Fallbacks are for pages without JupyterLab's colours (Voilà, VS Code, Colab): `inherit` and greys
# that keep their contrast on a light and on a dark ground.
TEXT_COLOUR = "var(--jp-ui-font-color1, inherit)"
BAR_COLOUR = "var(--jp-brand-color1, #0072b2)"
TRACK_COLOUR = "var(--jp-border-color2, #8884)"
ERROR_COLOUR = "var(--jp-error-color1, #d55e00)"


def render_prediction_html(prediction, name, picture=None, k=5) -> str:
    """Render a prediction as HTML that reads without colour, styles or scripts.

    Args:
        prediction: An `inference.Prediction`.
        name: What the picture is called; escaped here.
        picture: The picture as a PIL image, of which a thumbnail is embedded; None shows none.
        k: How many classes to list.

    Returns:
        One `<figure>`: the picture, the 32×32 view, the top classes with their percentages.
    """
    name = html.escape(str(name))
    images = ""
    if picture is not None:
        scale = min(1, THUMBNAIL_SIDE / max(picture.size))
        thumbnail = picture.resize([max(1, round(side * scale)) for side in picture.size])
        images += _image_tag(thumbnail, "JPEG", f"The picture {name}", "")
    images += _image_tag(
        Image.fromarray(prediction.view),
        "PNG",
        "What the network saw of it: 32 by 32 pixels",
        f"width:{VIEW_SIDE}px;height:{VIEW_SIDE}px;image-rendering:pixelated",
    )
    rows = "".join(_row(label, prob) for label, prob in prediction.top(k))
    return (
        f'<figure style="margin:8px 0;color:{TEXT_COLOUR}">'
        f"<figcaption><b>{name}</b>: {_verdict(prediction)}</figcaption>"
        f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{images}'
        f'<table aria-label="Most probable classes of {name}">'
        '<thead><tr><th scope="col" style="text-align:left">class</th>'
        '<th scope="col" style="text-align:right">probability</th><td></td></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></figure>"
    )


def render_error_html(name, error) -> str:
    """Render why a picture (or anything else, called `name`) failed, and what to do next."""
    if isinstance(error, CifarError):
        reason = str(error)
    else:
        reason = (
            f"{type(error).__name__}: {error}. This should not happen: try another picture, then "
            "restart the kernel; 'python -m cifar_utils doctor' says what this machine lacks."
        )
    return (
        f'<div role="alert" style="margin:8px 0;padding:4px 8px;color:{TEXT_COLOUR};'
        f'border-left:4px solid {ERROR_COLOUR}"><b>{html.escape(str(name))} was not classified.</b>'
        f" {html.escape(reason)}</div>"
    )


def _verdict(prediction):
    """Say what the picture shows, or that the classifier is not sure."""
    answer = f"{html.escape(prediction.label)}, {prediction.confidence:.1%}"
    if not prediction.unsure:
        return answer
    return f"<b>unsure</b>. Perhaps {answer}; perhaps none of the ten classes."


def _row(label, prob):
    """One class as a table row; the bar repeats the number, so a screen reader skips it."""
    bar = (
        f'<div aria-hidden="true" style="width:160px;height:10px;background:{TRACK_COLOUR}">'
        f'<div style="width:{prob:.1%};height:10px;background:{BAR_COLOUR}"></div></div>'
    )
    return (
        f'<tr><th scope="row" style="text-align:left;font-weight:normal">{html.escape(label)}</th>'
        f'<td style="text-align:right">{prob:.1%}</td><td>{bar}</td></tr>'
    )


def _image_tag(image, kind, alt, style):
    """Embed an image in HTML."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{alt}" style="{style}" src="data:image/{kind.lower()};base64,{data}">'
