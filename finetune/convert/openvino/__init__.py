"""Models as the `openvino` engine reads them, with weights in 8 or 4 bits."""
