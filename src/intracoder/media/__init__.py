"""Files to Frames and back; the only package that imports PyAV."""
