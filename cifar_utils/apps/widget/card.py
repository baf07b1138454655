"""One prediction in the widget: the photo, what the network made of it, three closer looks."""

import io

import ipywidgets as widgets

from cifar_utils.apps.widget.html import (
    render_diagnosis_html,
    render_heat_html,
    render_prediction_html,
)
from cifar_utils.apps.widget.parts import CropPicker
from cifar_utils.inference.crops import SMALLEST_SCENE, square_at
from cifar_utils.inference.explain import (
    compute_heat_map,
    describe_detail,
    diagnose,
    draw_heat_map,
    place_heat_map,
)

KEPT_SIDE = 1024  # pixels of the photo that stays in memory, for a closer look
SMALLEST_CROP = 20  # percent of the shorter side
NAMES = ("across", "down", "size")  # of the sliders, and of `CropPicker`


class ResultCard(widgets.VBox):
    """A prediction, and buttons that open a closer look at it below.

    The `panel` gives the classifier and the way to show HTML; `orientation` is what
    `images.describe_orientation` states about the photo's file.

    Its `photo` is reduced to about `KEPT_SIDE` pixels; `answer` shows the prediction, and `details`
    what is open. A button pressed again closes its part.
    """

    def __init__(self, panel, name, photo, prediction, orientation):
        super().__init__()
        self._panel, self._screen = panel, panel.screen
        self._name, self._orientation = name, orientation
        self.prediction, self.photo = prediction, photo.copy()
        # The copy must be cut like the photo: of a long strip, more pixels than that are kept.
        side = max(KEPT_SIDE, SMALLEST_SCENE * max(photo.size) / min(photo.size))
        self.photo.thumbnail((side, side))
        self._scale = self.photo.width / photo.width
        self._detail = describe_detail(photo.size, prediction.box)
        self.answer = self._screen(render_prediction_html(prediction, name, photo))
        self.details = widgets.VBox()
        self.heat_button = self._make_button("Where it looked", self._make_heat_map)
        self.crop_button = self._make_button("Move the crop", self._make_crop)
        self.why_button = self._make_button("Why this answer?", self._make_diagnosis)
        self._buttons = (self.heat_button, self.crop_button, self.why_button)
        row = widgets.HBox(self._buttons, layout={"flex_flow": "wrap"})
        self.children = [self.answer, row, self.details]

    def _make_button(self, text, make):
        """Return a button that opens the widgets that `make` returns, or closes them."""
        button = widgets.ToggleButton(
            description=text, tooltip=f"{text}: {self._name}", layout={"width": "auto"}
        )

        def toggle(change):
            if not change["new"]:
                if not any(other.value for other in self._buttons):
                    self._show(())
                return
            for other in self._buttons:
                if other is not button:
                    other.value = False
            made = []
            self._show((widgets.HTML('<div role="status">Looking …</div>'),))
            self._panel.guard(self._name, lambda: made.extend(make()))
            self._show(tuple(made))

        button.observe(toggle, names="value")
        return button

    def _show(self, parts):
        """Show these parts below the buttons, and close what was there."""
        gone, self.details.children = self.details.children, parts
        for old in gone:
            close_all(old)

    def _make_heat_map(self):
        """Draw which regions the prediction came from."""
        said = self.prediction
        # Of the very pixels that the network was given: the reduced copy would give others.
        heat = compute_heat_map(self._panel.classifier, said.view, said.label)
        heat = place_heat_map(heat, said.box, (self._scale,) * 2, self.photo.size)
        drawn = draw_heat_map(self.photo, heat, side=320)
        return (self._screen(render_heat_html(drawn, self._name, said.label)),)

    def _make_crop(self):
        """Let a person choose the square that the network is given."""
        sliders = [
            widgets.FloatSlider(
                value=value,
                min=SMALLEST_CROP if name == "size" else 0,
                max=100,
                step=1,
                description=f"{name}, %",
                continuous_update=False,
                readout_format=".0f",
                style={"description_width": "7em"},
                layout={"width": "24em"},
            )
            for name, value in zip(NAMES, self._find_place(), strict=True)
        ]
        answer = self._screen()

        def predict(_=None):
            across, down, size = (slider.value / 100 for slider in sliders)
            box = square_at(*self.photo.size, (across, down), size)
            said = self._panel.classifier.predict_box(self.photo, box)
            answer.value = render_prediction_html(said, "This part")

        for slider in sliders:
            slider.observe(lambda _: self._panel.guard(self._name, predict), names="value")
        predict()
        if self._screen is widgets.HTML:  # the front end cannot run the picker; the sliders do it
            return widgets.VBox(sliders), answer
        buffer = io.BytesIO()
        self.photo.save(buffer, "JPEG", quality=85)
        picker = CropPicker(buffer.getvalue(), smallest=SMALLEST_CROP)
        for name, slider in zip(NAMES, sliders, strict=True):
            widgets.link((slider, "value"), (picker, name))
        return picker, widgets.VBox(sliders), answer

    def _find_place(self):
        """Return where the network's view is, as values of the three sliders, in percent."""
        left, top, right, _ = (edge * self._scale for edge in self.prediction.box)
        side = right - left
        places = [
            # Less than a pixel to move in: any place will do, and the middle looks tidy.
            min(100.0, 100 * start / free) if (free := length - side) >= 1 else 50.0
            for start, length in zip((left, top), self.photo.size, strict=True)
        ]
        return (*places, max(SMALLEST_CROP, min(100.0, 100 * side / min(self.photo.size))))

    def _make_diagnosis(self):
        """Show the photo turned, cut, reduced, and what is similar to it."""
        said, panel = self.prediction, self._panel
        found = diagnose(panel.classifier, self.photo, said, panel.find_nearest(said.view))
        page = render_diagnosis_html(said, self._orientation, self._detail, found)
        return (self._screen(page),)


def close_all(widget):
    """Close a widget and all in it: open ones stay in memory, with the photos they show."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    widget.close()
