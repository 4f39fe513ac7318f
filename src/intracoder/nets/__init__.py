"""Networks: tensors in, tensors out; no Frame, no Face."""
