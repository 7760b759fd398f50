"""From any image to the network's input: decoding, illumination, ink, normalisation. No torch."""
