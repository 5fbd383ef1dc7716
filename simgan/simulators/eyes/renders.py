"""Clean grey renders of eyes, 55×35 as MPIIGaze crops them, with labels that are exact by geometry."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from simgan.domains.eyes import HEIGHT, WIDTH, gaze_direction
from simgan.runtime import count_cores
from simgan.simulators.base import Batch, RandomNumbers, Rendered, Simulator, matrices
from simgan.simulators.eyes.geometry import DISTANCE, IRIS_DEPTH, corners, landmarks, look, paint

_DEGREE = np.pi / 180
_PART = 32  # images: arrays of 35 × 55 float32 each take 250 kB and stay in the processor's cache


@dataclass(frozen=True, kw_only=True)
class Eyes(Simulator):
    """Eyes of persons in their light; (low, high) of uniform draws unless said otherwise.

    Images are uint8 (N, 35, 55), labels gaze (N, 3) unit vectors along the line of sight, pitch and yaw (N,) in
    radians, head_rotation (N, 9), pupil (N, 2), iris (N, 8, 2) and lids (N, 12, 2) in pixels of the crop.
    """

    domain = "eyes"
    size = (WIDTH, HEIGHT)
    labels = ("gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids")
    batch = 256

    pupil: tuple[float, float]  # radius in mm
    brow: tuple[float, float]  # row of its lower edge: mean and deviation
    lash_width: tuple[float, float]  # px
    skin: tuple[float, float]  # grey tones
    iris: tuple[float, float]
    sclera: tuple[float, float]
    contrast: tuple[float, float]  # of light and shadow on the face
    sideways: float  # largest slope of the light to either side, 1 = 45 degrees

    def populate(self, person: RandomNumbers, image: RandomNumbers) -> tuple[Batch, Batch]:
        """Draw scenes and faces: angles in radians, lengths in mm and on faces in px of the crop, tones in [0, 1]."""
        # As 15 persons at laptops (the labels of MPIIGaze): they look at a screen below the camera, however the head is
        # held. It is turned up by 9° on average, so that eyes are lowered in it, and upper lids with them.
        pitch, yaw = image.uniform(-20, 3), image.uniform(-18, 18)
        # Gaze is the line of sight, from the fovea. The axis of eyeball, iris and pupil points 5° further to the temple
        # and 1.5° lower (angle kappa; Guestrin & Eizenman 2006).
        axis_pitch, axis_yaw = pitch - person.normal(1.5, 0.5), yaw - person.normal(5, 1)
        head_pitch = axis_pitch - np.clip(axis_pitch - person.normal(9.5, 5) - image.normal(0, 8), -26, 14)
        head_yaw = axis_yaw - np.clip(axis_yaw - person.normal(0, 5) - image.normal(0, 9), -30, 30)
        up = IRIS_DEPTH * np.sin((axis_pitch - head_pitch) * _DEGREE)  # mm that the iris has risen in the head

        openness = image.normal(0.92, 0.12)  # 1 = relaxed
        follows, drop = person.uniform(0.65, 0.85), person.normal(1.9, 0.5)
        lift = person.normal(4.4, 0.6) * openness + follows * up + drop
        sink = person.normal(5.6, 0.5) * (0.5 + 0.5 * openness) - 0.7 * up - drop
        cp, sp, cy, sy = (f(head * _DEGREE) for head in (head_pitch, head_yaw) for f in (np.cos, np.sin))
        # Crops are centred between the corners of the lids; real irises are found 1.4 mm higher than that puts them.
        off = [person.normal(middle, 0.3) + image.normal(0, 0.35) for middle in (0, -1.4)]
        scene = Batch(
            pitch=pitch * _DEGREE,  # > 0 looks up
            yaw=yaw * _DEGREE,  # > 0 looks left in the image
            gaze=np.stack(gaze_direction(pitch * _DEGREE, yaw * _DEGREE), -1),
            axis=np.stack(gaze_direction(axis_pitch * _DEGREE, axis_yaw * _DEGREE), -1),
            # From the head's frame to the camera's; without roll, which MPIIGaze's crops lack.
            head_rotation=matrices((cy, -sy * sp, sy * cp), (np.zeros_like(cp), cp, sp), (-sy, -cy * sp, cy * cp)),
            pupil=image.uniform(*self.pupil),
            half_width=person.normal(14.4, 0.7),  # of the opening between the lids
            drop=drop,  # distance of the line between the corners below the eyeball's centre
            tilt=person.normal(0.03, 0.05),  # slope of that line, > 0 where the temporal corner is the higher one
            skew=person.normal(0.12, 0.12),  # moves the upper lid's peak to the nose and the lower lid's away from it
            lift=np.maximum(lift, 0.4),  # height of the upper lid's middle above that line
            sink=np.maximum(sink, 1.0),  # depth of the lower lid's middle below it
            bumps=np.stack([person.normal(0, 1) for _ in range(12)], -1),  # x, y and height of four bumps of the face
        )
        scene["eyeball"] = np.stack([*off, np.full_like(up, DISTANCE)], -1) - corners(scene)
        face = Batch(
            skin=person.uniform(*self.skin) * image.uniform(0.75, 1.2),
            iris=self.iris[0] + (self.iris[1] - self.iris[0]) * person.uniform() ** 1.7,
            sclera=image.uniform(*self.sclera),
            light_x=image.uniform(-self.sideways, self.sideways),  # slope: > 0 comes from the right of the image
            light_y=image.uniform(-1.0, 0.15),  # > 0 comes from below
            contrast=image.uniform(*self.contrast),
            crease=np.maximum(person.normal(4.2, 1.5) - 0.5 * up, 0.8),  # height of the upper fold above the lid
            crease_depth=person.uniform(0.1, 0.45),
            hollow=person.uniform(0.0, 0.3),  # darkness between nose and brow
            brow=person.normal(*self.brow) + 0.2 * head_pitch,
            brow_tone=person.uniform(0.25, 0.75),
            lashes=person.uniform(0.45, 0.9),  # darkness of the upper ones
            lash_width=person.uniform(*self.lash_width),
            lower_lashes=person.uniform(0.05, 0.35),
            bag=person.uniform(0.0, 0.18),  # depth of the fold below the eye
            glint=image.uniform(0.2, 1.0) * image.happens(0.8),  # brightness of the light's image on the cornea
            fibres=person.uniform(0.02, 0.12),  # contrast of the iris' fibres
            turn=person.uniform(0, 2 * np.pi),  # the angle around the iris at which they start
        )
        return scene, face

    def draw(self, person: RandomNumbers, image: RandomNumbers, camera: RandomNumbers) -> Rendered:
        """Return images and labels, see the class."""
        scene, face = self.populate(person, image)
        taken = self.camera and self.camera(camera)
        images = np.empty((len(scene.pitch), HEIGHT, WIDTH), np.uint8)

        def work(start: int) -> None:
            part = slice(start, start + _PART)
            view = look(scene.part(part))
            tones = paint(scene.part(part), face.part(part), view, taken.tint(part, view) if taken else 1.0)
            if taken:
                images[part] = [taken.develop(number, tone) for number, tone in enumerate(tones, start)]
            else:
                images[part] = np.clip(tones * 255, 0, 255).round()

        with ThreadPoolExecutor(min(count_cores(), 8)) as pool:  # array code releases the interpreter's lock
            list(pool.map(work, range(0, len(images), _PART)))
        return images, landmarks(scene)


# Gaze and lids are distributed as those of the look-alike webcam, or a refiner would take that for the difference and
# close the eyes. Only the appearance differs: one lamp before the face, whiter whites, lighter irises, thin lashes, and
# no brow.
SIMULATOR = Eyes(
    stream=0x5EED,
    persons=200,
    prefix="sim",
    pupil=(1.6, 3.2),
    brow=(-14, 1),
    lash_width=(0.5, 0.8),
    skin=(0.35, 0.72),
    iris=(0.1, 0.35),
    sclera=(0.7, 1.0),
    contrast=(0.1, 0.4),
    sideways=0.3,
)
render = SIMULATOR.render
