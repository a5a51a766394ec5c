"""A run on a set that was enlarged once: the copies are made before training, and then nothing changes (S3.11)."""

import tiny
import torch


def test_an_epoch_is_as_much_longer_and_images_come_as_they_were_made() -> None:
    plain, enlarged = tiny.session(), tiny.session(enlarge=2)
    images = plain.batches.images
    assert len(enlarged.batches.images) == 3 * len(images) == 810
    assert enlarged.batches.per_epoch == 26  # 810 images in batches of 32
    # The first third are the images as they are; in each copy something has moved.
    stored = enlarged.batches.images.batch(torch.arange(810))
    assert torch.equal(stored[:270], images.batch(torch.arange(270)))
    assert (stored[270:540] != stored[:270]).flatten(1).any(1).float().mean() > 0.9
    # What a step gets is one of the stored images, normalised and not moved again.
    normalised = {enlarged.batches.normalise(image[None]).numpy().tobytes() for image in stored}
    shown, _ = enlarged.batch(0)
    assert all(image.contiguous()[None].numpy().tobytes() in normalised for image in shown)
