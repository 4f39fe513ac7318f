"""Networks applied to frames, giving faces and tracks."""
