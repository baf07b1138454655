"""What people start: command line, pipeline, widget, page."""
