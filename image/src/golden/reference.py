"""What renditions should look like, by Pillow. Writes into the folder it is given.

Each case, appended by the test, makes a source from the scene and says what becomes of it:
case(name, source, reference): the source's bytes, and a function from the picture that Pillow
reads of them to the picture that is expected."""
import io
import struct
import sys
from PIL import Image, ImageCms, ImageFilter, ImageOps

FOLDER = sys.argv[1]
LANCZOS = Image.Resampling.LANCZOS
scene = Image.open(f"{FOLDER}/scene.png").convert("RGB")
wide = open(f"{FOLDER}/wide.icc", "rb").read()


def saved(picture, kind, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def jpeg(picture, **options):
    return saved(picture, "JPEG", **{"quality": 95, "subsampling": 2, **options})


def png(picture, **options):
    return saved(picture, "PNG", **options)


def fading(picture):
    """Clear on the left, solid on the right."""
    alpha = Image.linear_gradient("L").rotate(90).resize(picture.size)
    picture = picture.copy()
    picture.putalpha(alpha)
    return picture


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(scene, exif=exif)


def palette(picture, **options):
    return picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=200, **options)


def sixteen_bits(picture):
    """Pillow has no colours of 16 bits, but greys."""
    return picture.convert("L").convert("I").point(lambda level: level * 257).convert("I;16")


def frames():
    return [ImageOps.mirror(scene) if at % 2 else scene for at in range(4)]


def animated(kind, **options):
    first, *rest = [frame.convert("RGB") for frame in frames()]
    return saved(first, kind, save_all=True, append_images=rest, duration=80, loop=0, **options)


def to(width, height):
    return lambda im: im.resize((width, height), LANCZOS)


def filling(width, height, x=0.5, y=0.5):
    """The part of the box's shape around a point."""
    def fill(im):
        scale = min(im.width / width, im.height / height)
        w, h = width * scale, height * scale
        left = min(max(x * im.width - w / 2, 0), im.width - w)
        top = min(max(y * im.height - h / 2, 0), im.height - h)
        return im.resize((width, height), LANCZOS, box=(left, top, left + w, top + h))
    return fill


def padded(size, inner, colour, x=0.5, y=0.5):
    def pad(im):
        canvas = Image.new("RGBA", size, colour)
        free = [outer - own for outer, own in zip(size, inner)]
        corner = (int(free[0] * x + 0.5), int(free[1] * y + 0.5))
        canvas.paste(im.convert("RGBA").resize(inner, LANCZOS), corner)
        return canvas
    return pad


def laid_on(colour, size):
    def lay(im):
        ground = Image.new("RGBA", size, colour)
        return Image.alpha_composite(ground, im.convert("RGBA").resize(size, LANCZOS))
    return lay


def then(*steps):
    def all_steps(im):
        for step in steps:
            im = step(im)
        return im
    return all_steps


def blurred(deviation):
    return lambda im: im.filter(ImageFilter.GaussianBlur(deviation))


def sharpened(percent):
    return lambda im: im.filter(ImageFilter.UnsharpMask(radius=1, percent=percent, threshold=0))


def grey(im):
    alpha = im.getchannel("A") if im.mode == "RGBA" else None
    im = im.convert("RGB").convert("L")
    if alpha:
        im.putalpha(alpha)
    return im


def in_srgb(im):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(wide))
    return ImageCms.profileToProfile(im, profile, ImageCms.createProfile("sRGB"))


def marked(size, corner):
    """A red square with half its opacity."""
    def mark(im):
        im = im.convert("RGBA")
        layer = Image.new("RGBA", im.size, (255, 0, 0, 0))
        layer.paste((255, 0, 0, 128), (*corner, corner[0] + size, corner[1] + size))
        return Image.alpha_composite(im, layer)
    return mark


def framed(colour):
    """The scene with an edge of one colour, which trimming takes away."""
    return ImageOps.expand(scene, border=(30, 20, 50, 40), fill=colour)


def case(name, source, reference):
    open(f"{FOLDER}/{name}.source", "wb").write(source)
    im = Image.open(io.BytesIO(source))
    im.load()
    if im.mode in ("I", "I;16"):
        im = im.convert("I").point(lambda level: level * (1 / 257)).convert("L")
    if im.mode not in ("RGB", "L", "RGBA"):
        im = im.convert("RGBA" if im.mode in ("P", "LA", "PA") else "RGB")
    expected = reference(ImageOps.exif_transpose(im)).convert("RGBA")
    with open(f"{FOLDER}/{name}.expected", "wb") as file:
        file.write(struct.pack("<II", *expected.size) + expected.tobytes())
