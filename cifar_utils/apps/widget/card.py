"""One answer in the widget: the picture, what the network made of it, three closer looks."""

import io

import ipywidgets as widgets

from cifar_utils.apps.widget.front import CropPicker
from cifar_utils.apps.widget.html import (
    render_diagnosis_html,
    render_image_html,
    render_prediction_html,
)
from cifar_utils.inference.crops import SMALLEST_SCENE, square_at
from cifar_utils.inference.explain import (
    compute_heat_map,
    describe_detail,
    diagnose,
    draw_heat_map,
    place_heat_map,
)

KEPT_SIDE = 1024  # pixels of the picture that stays in memory, for a closer look
SMALLEST_CROP = 20  # percent of the shorter side


class ResultCard(widgets.VBox):
    """A prediction, and buttons that open a closer look at it below.

    Args:
        classifier: An `inference.Classifier`.
        name: What the picture is called.
        picture: The picture as an RGB image.
        prediction: The classifier's answer.
        orientation: What `pictures.describe_orientation` says of its file.
        screen: Makes an area for HTML: `front.Screen`, or `ipywidgets.HTML` where that cannot run.
        guard: Runs a callback's work and shows what it raises: `guard(name, action)`.
        find_nearest: Takes a view, returns pairs `(image, class name)` of alike training images.

    Attributes:
        heat_button, crop_button, why_button: Each opens its part; pressed again, it closes it.
        details: What is open.
    """

    def __init__(
        self, classifier, name, picture, prediction, orientation, screen, guard, find_nearest
    ):
        super().__init__()
        self._classifier, self._name, self._prediction = classifier, name, prediction
        self._orientation, self._screen, self._guard = orientation, screen, guard
        self._find_nearest = find_nearest
        self._picture = picture.copy()
        # Still a scene if it was one: of a long strip, more pixels than that are kept.
        side = max(KEPT_SIDE, SMALLEST_SCENE * max(picture.size) / min(picture.size))
        self._picture.thumbnail((side, side))
        self._scale = self._picture.width / picture.width
        self._detail = describe_detail(picture.size, prediction.box)
        self.answer = screen(render_prediction_html(prediction, name, picture))
        self.details = widgets.VBox()
        self.heat_button = self._add_button("Where it looked", self._show_heat)
        self.crop_button = self._add_button("Move the crop", self._show_crop)
        self.why_button = self._add_button("Why this answer?", self._show_why)
        buttons = [self.heat_button, self.crop_button, self.why_button]
        row = widgets.HBox(buttons, layout={"flex_flow": "wrap"})
        self.children = [self.answer, row, self.details]

    def _add_button(self, text, show):
        """Make a button that opens what `show` returns, or closes it."""
        button = widgets.ToggleButton(
            description=text, tooltip=f"{text}: {self._name}", layout={"width": "auto"}
        )

        def toggle(change):
            if not change["new"]:
                if not any(other.value for other in self._buttons()):
                    self._show(())
                return
            for other in self._buttons():
                if other is not button:
                    other.value = False
            shown = []
            self._show((widgets.HTML('<div role="status">Looking …</div>'),))
            self._guard(self._name, lambda: shown.extend(show()))
            self._show(tuple(shown))

        button.observe(toggle, names="value")
        return button

    def _show(self, parts):
        """Show these parts below the buttons, and close what was there."""
        gone, self.details.children = self.details.children, parts
        for old in gone:
            close_all(old)

    def _buttons(self):
        return (self.heat_button, self.crop_button, self.why_button)

    def _show_heat(self):
        """Draw which regions the answer came from."""
        label = self._prediction.label
        # Of what the network saw: of the smaller copy it might have seen something else.
        heat = compute_heat_map(self._classifier, self._prediction.view, label)
        heat = place_heat_map(heat, self._prediction.box, (self._scale,) * 2, self._picture.size)
        drawn = draw_heat_map(self._picture, heat, side=320)
        alt = f"{self._name}: what spoke for {label} keeps its colours, the rest is dark and grey"
        text = (
            f"<p>In colour: what spoke for <b>{label}</b>. A patch was blurred away at every place"
            " in turn; where that cost the class most, the answer came from. If it is not the"
            " object, be careful with the answer.</p>"
        )
        return (self._screen(text + render_image_html(drawn, alt, "max-width:100%", "JPEG")),)

    def _show_crop(self):
        """Let a person choose the square that the network is shown."""
        style, layout = {"description_width": "7em"}, {"width": "24em"}
        across, down, size = (
            widgets.FloatSlider(
                value=value,
                min=low,
                max=100,
                step=1,
                description=text,
                continuous_update=False,
                readout_format=".0f",
                style=style,
                layout=layout,
            )
            for text, value, low in (
                ("across, %", 50, 0),
                ("down, %", 50, 0),
                ("size, %", 100, SMALLEST_CROP),
            )
        )
        across.value, down.value, size.value = self._find_place()
        answer = self._screen()

        def ask(_=None):
            place = (across.value / 100, down.value / 100)
            box = square_at(*self._picture.size, place, size.value / 100)
            said = self._classifier.predict_box(self._picture, box)
            answer.value = render_prediction_html(said, "This part")

        for slider in (across, down, size):
            slider.observe(lambda _: self._guard(self._name, ask), names="value")
        ask()
        sliders = widgets.VBox([across, down, size])
        if self._screen is widgets.HTML:  # the front end cannot run the picker; the sliders do it
            return sliders, answer
        return self._make_picker(across, down, size), sliders, answer

    def _make_picker(self, across, down, size):
        """Show the picture with a square to drag, tied to the sliders."""
        buffer = io.BytesIO()
        self._picture.save(buffer, "JPEG", quality=85)
        picker = CropPicker(buffer.getvalue(), smallest=SMALLEST_CROP)
        for name, slider in (("across", across), ("down", down), ("size", size)):
            widgets.link((slider, "value"), (picker, name))
        return picker

    def _find_place(self):
        """Return where the view of the answer lies, as the three sliders say it, in percent."""
        left, top, right, _ = self._prediction.box
        side = (right - left) * self._scale
        ways = [
            min(100.0, 100 * start * self._scale / free) if free >= 1 else 50.0
            for start, free in (
                (left, self._picture.width - side),
                (top, self._picture.height - side),
            )
        ]
        return (*ways, max(SMALLEST_CROP, min(100.0, 100 * side / min(self._picture.size))))

    def _show_why(self):
        """Show the picture turned, cut, reduced, and what is like it."""
        said = self._prediction
        found = diagnose(self._classifier, self._picture, said, self._find_nearest(said.view))
        page = render_diagnosis_html(said, self._orientation, self._detail, found)
        return (self._screen(page),)


def close_all(widget):
    """Close a widget and all in it: open ones stay in memory, with the pictures they show."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    widget.close()
