"""Sliders that redraw a figure in a notebook."""


def show_sliders(draw, **sliders):
    """Show sliders, and below them the figure for their values.

    An image widget, and not `ipywidgets.interact`: its Output widget now and then makes a notebook
    that is executed without a browser wait for ever, and fails in Colab.

    Args:
        draw: A function of the sliders' values, by name, that returns an `IPython.display.Image`
            (see `plots.style.show_figure`).
        **sliders: `ipywidgets.FloatSlider` or another widget with a value, by name.

    Returns:
        A widget. As the last line of a cell it is shown.
    """
    import ipywidgets

    shown = ipywidgets.Image(format="png")

    def redraw(_=None):
        figure = draw(**{name: slider.value for name, slider in sliders.items()})
        shown.value, shown.width = figure.data, str(figure.width)

    for name, slider in sliders.items():
        slider.description = slider.description or name
        slider.continuous_update = False  # one figure when the slider is let go
        slider.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*sliders.values(), shown])
