"""Parameter shapes of the models that the benchmarks step; no model is run."""

Shape = tuple[int, ...]


def _conv(out_channels: int, in_channels: int, size: int) -> list[Shape]:
    """A convolution without bias and its BatchNorm."""
    return [(out_channels, in_channels, size, size), (out_channels,), (out_channels,)]


def resnet18() -> list[Shape]:
    """11.7 million parameters."""
    shapes, width_in = _conv(64, 3, 7), 64
    for width in (64, 128, 256, 512):
        for block in range(2):
            shapes += _conv(width, width_in, 3) + _conv(width, width, 3)
            if block == 0 and width != 64:
                shapes += _conv(width, width_in, 1)
            width_in = width
    return [*shapes, (1000, 512), (1000,)]


def small_cnn() -> list[Shape]:
    """Four convolutions with BatchNorm for 8 x 8 digits; 61 thousand parameters."""
    return [*_conv(16, 1, 3), *_conv(32, 16, 3), *_conv(64, 32, 3), *_conv(64, 64, 3), (10, 64), (10,)]


def gpt(n_tokens: int, width: int, n_layers: int, context: int) -> list[Shape]:
    """A decoder with a tied head."""
    norm, shapes = [(width,), (width,)], [(n_tokens, width), (context, width)]
    for _ in range(n_layers):
        shapes += [*norm, (3 * width, width), (3 * width,), (width, width), (width,)]
        shapes += [*norm, (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return shapes + norm


MODELS: dict[str, list[Shape]] = {
    "ResNet-18": resnet18(),
    "small CNN": small_cnn(),
    "GPT 10M": gpt(65, 384, 6, 256),
    "GPT 124M": gpt(50304, 768, 12, 1024),
}
