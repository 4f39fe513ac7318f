"""Array functions on pictures and points: numpy and OpenCV, no files, no frameworks."""
