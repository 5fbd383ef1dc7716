"""Other light, sharpness and noise for the synthetic images (domain randomization, Tobin et al. 2017).

A few rendered persons in one light are soon known by heart, and a refiner that only knows them leaves others as they
are. What changes here are pixels before they enter the refiner; the geometry, hence every label, stays.
"""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

LIGHT, SHARPNESS, NOISE = 0.6, (-1.0, 0.8), 0.08  # of log brightness; of the detail within 1 px; of the deviation


def randomize(image: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    """Give a stored image, uint8 (H, W) or (H, W, 3), in other light: a slope and a soft spot, blur or sharpening,
    and sensor noise. All channels change alike; highlights darken the image rather than being cut.
    """
    height, width = image.shape[:2]
    y, x = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    (across, down, spot), (spot_x, spot_y) = rng.normal(0, LIGHT, 3), rng.uniform(-0.5, 0.5, 2)
    light = across * x + down * y + 0.7 * spot * np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / 0.1)
    noise = rng.normal(0, NOISE * rng.random() ** 2, (height, width))
    planes = image.reshape(height, width, -1).astype(np.float32)
    planes *= np.exp(light).astype(np.float32)[..., None]
    soft = cv2.GaussianBlur(planes, (0, 0), 1.0).reshape(planes.shape)
    planes += np.float32(rng.uniform(*SHARPNESS)) * (planes - soft)
    planes += (noise * planes.std()).astype(np.float32)[..., None]
    planes *= 255 / max(255.0, float(planes.max()))
    changed: NDArray[np.uint8] = planes.clip(0, 255).round().astype(np.uint8).reshape(image.shape)
    return changed
