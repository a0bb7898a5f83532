//! AVIF, by libavif with libaom.
//!
//! JPEG's planes go in as they are: AVIF holds full-range BT.601 too. Everything else goes through
//! the library's own conversions.

use super::{Header, Kind, Profile, av1};
use crate::limits::Limits;
use crate::raster::{Layout, Picture, Planar, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use image::metadata::Orientation;
use libavif_sys as sys;
use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// 0 to 10. 9 takes a quarter of the time of 8, and is visibly behind it at equal bytes (SSIM .926
/// against .933 of a photograph at 57 kB and 800 px); 6 takes three times its time for .937.
const SPEED: c_int = 8;

/// AVIF's own scale runs higher: at this part of JPEG's number the two look alike.
const QUALITY_PERCENT: u32 = 78;

/// Of a sequence: only its first is read.
const MAX_FRAMES: u32 = 1000;

pub struct Source<'s> {
    decoder: Decoder,
    header: Header,
    has_alpha: bool,
    /// The decoder reads them until it is dropped.
    bytes: PhantomData<&'s [u8]>,
}

impl<'s> Source<'s> {
    pub fn open(bytes: &'s [u8], limits: &Limits) -> Result<Self, TransformError> {
        let decoder = Decoder::of(bytes, limits)?;
        let image = decoder.image();
        let size = Size::new(image.width, image.height);
        limits.check_size(size)?;
        decoder.check_stream(bytes, limits)?;
        let header = Header {
            kind: Kind::Avif,
            size,
            orientation: orientation(image),
            frames: 1,
            profile: Profile::read(data(&image.icc)),
            exif: Some(data(&image.exif).to_vec()).filter(|exif| !exif.is_empty()),
        };
        let has_alpha = decoder.has_alpha();
        Ok(Self {
            decoder,
            header,
            has_alpha,
            bytes: PhantomData,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn decode(mut self) -> Result<Picture, TransformError> {
        self.decoder.next_image()?;
        let image = self.decoder.image();
        let size = Size::new(image.width, image.height);
        if size != self.header.size {
            return Err(TransformError::Corrupt(
                "a frame of another size".to_owned(),
            ));
        }
        let layout = if self.has_alpha {
            Layout::Rgba
        } else {
            Layout::Rgb
        };
        let mut raster = Raster::whole(size, layout, vec![0; layout.bytes(size)]);
        let mut view = view(&mut raster);
        // SAFETY: `view` describes the raster's samples, which are as many as its size and format
        // need; `image` was decoded into planes of its own.
        checked(unsafe { sys::avifImageYUVToRGB(image, &mut view) }, corrupt)?;
        Ok(Picture::Packed(raster))
    }
}

/// Lossy, 4:2:0 or grey; alpha is kept. `quality` is JPEG's number.
pub fn encode(
    picture: Picture,
    quality: u8,
    exif: Option<Vec<u8>>,
) -> Result<Vec<u8>, TransformError> {
    let mut encoder = Encoder::new(quality)?;
    match picture {
        Picture::Planar(planar) => {
            let mut image = Image::of_planes(&planar)?;
            image.set_exif(exif)?;
            encoder.write(&image)
        }
        Picture::Packed(mut raster) => {
            let mut image = if raster.layout == Layout::Grey {
                Image::of_grey(&raster)?
            } else {
                Image::of_pixels(&mut raster)?
            };
            image.set_exif(exif)?;
            encoder.write(&image)
        }
    }
}

/// Turned anti-clockwise first, then mirrored (ISO/IEC 23008-12 §6.5.10 and §6.5.12). AVIF's
/// readers don't look at EXIF for it.
fn orientation(image: &sys::avifImage) -> Orientation {
    let is_set = |flag: sys::avifTransformFlag| image.transformFlags & flag != 0;
    let angle = if is_set(sys::AVIF_TRANSFORM_IROT) {
        image.irot.angle & 3
    } else {
        0
    };
    let axis = is_set(sys::AVIF_TRANSFORM_IMIR).then_some(image.imir.axis);
    match (angle, axis) {
        (0, None) => Orientation::NoTransforms,
        (1, None) => Orientation::Rotate270,
        (2, None) => Orientation::Rotate180,
        (_, None) => Orientation::Rotate90,
        (0, Some(0)) | (2, Some(1..)) => Orientation::FlipVertical,
        (0, Some(1..)) | (2, Some(0)) => Orientation::FlipHorizontal,
        (1, Some(0)) | (3.., Some(1..)) => Orientation::Rotate90FlipH,
        (1, Some(1..)) | (_, Some(0)) => Orientation::Rotate270FlipH,
    }
}

struct Decoder(NonNull<sys::avifDecoder>);

impl Decoder {
    /// Parsed, not decoded. The bytes have to outlive it.
    fn of(bytes: &[u8], limits: &Limits) -> Result<Self, TransformError> {
        // SAFETY: creates a decoder or gives null.
        let decoder = NonNull::new(unsafe { sys::avifDecoderCreate() });
        let mut decoder = Self(decoder.ok_or_else(|| corrupt("no memory"))?);
        // SAFETY: just created, and nobody else's.
        let settings = unsafe { decoder.0.as_mut() };
        settings.codecChoice = sys::AVIF_CODEC_CHOICE_AOM;
        settings.maxThreads = 1;
        settings.ignoreXMP = 1;
        settings.imageCountLimit = MAX_FRAMES;
        let most = limits
            .max_pixels
            .min(u64::from(sys::AVIF_DEFAULT_IMAGE_SIZE_LIMIT));
        settings.imageSizeLimit = u32::try_from(most).expect("bounded").max(1);
        // SAFETY: the caller keeps `bytes` alive and unchanged as long as the decoder.
        let read =
            unsafe { sys::avifDecoderSetIOMemory(decoder.0.as_ptr(), bytes.as_ptr(), bytes.len()) };
        checked(read, corrupt)?;
        // SAFETY: a live decoder with its source set.
        checked(
            unsafe { sys::avifDecoderParse(decoder.0.as_ptr()) },
            corrupt,
        )?;
        Ok(decoder)
    }

    fn image(&self) -> &sys::avifImage {
        // SAFETY: after parsing, `image` points to an image that the decoder owns until dropped.
        unsafe { &*self.0.as_ref().image }
    }

    /// The sizes in the bitstream are bound as the container's is.
    fn check_stream(&self, bytes: &[u8], limits: &Limits) -> Result<(), TransformError> {
        let mut extent = sys::avifExtent::default();
        // SAFETY: a live, parsed decoder, and a place to write to.
        let found = unsafe { sys::avifDecoderNthImageMaxExtent(self.0.as_ptr(), 0, &mut extent) };
        checked(found, corrupt)?;
        let start = usize::try_from(extent.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(extent.size);
        let stream = bytes.get(start..end).ok_or_else(|| corrupt("cut off"))?;
        let unread = || TransformError::Unsupported("AVIF with gaps or timing".to_owned());
        let sizes = av1::sizes(stream).ok_or_else(unread)?;
        sizes
            .into_iter()
            .try_for_each(|size| limits.check_size(size))
    }

    fn has_alpha(&self) -> bool {
        // SAFETY: a live decoder.
        unsafe { self.0.as_ref() }.alphaPresent != 0
    }

    fn next_image(&mut self) -> Result<(), TransformError> {
        // SAFETY: a live, parsed decoder.
        checked(
            unsafe { sys::avifDecoderNextImage(self.0.as_ptr()) },
            corrupt,
        )
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: created by `avifDecoderCreate`, not used again.
        unsafe { sys::avifDecoderDestroy(self.0.as_ptr()) };
    }
}

/// A picture in libavif's hands; its planes may be somebody else's.
struct Image<'p> {
    image: NonNull<sys::avifImage>,
    planes: PhantomData<&'p [u8]>,
}

impl<'p> Image<'p> {
    fn new(size: Size, format: sys::avifPixelFormat) -> Result<Self, TransformError> {
        // SAFETY: creates an image or gives null.
        let image = unsafe { sys::avifImageCreate(size.width, size.height, 8, format) };
        let mut image = NonNull::new(image).ok_or_else(|| failed("size"))?;
        // SAFETY: just created, and nobody else's.
        let fields = unsafe { image.as_mut() };
        fields.yuvRange = sys::AVIF_RANGE_FULL;
        fields.colorPrimaries = sys::AVIF_COLOR_PRIMARIES_BT709 as _;
        fields.transferCharacteristics = sys::AVIF_TRANSFER_CHARACTERISTICS_SRGB as _;
        fields.matrixCoefficients = sys::AVIF_MATRIX_COEFFICIENTS_BT601 as _;
        Ok(Self {
            image,
            planes: PhantomData,
        })
    }

    fn of_planes(planes: &'p Planar) -> Result<Self, TransformError> {
        let [blue, red] = &planes.chroma;
        let half = planes.luma.size.halved();
        if blue.size != half || red.size != half {
            return Err(failed("planes that aren't 4:2:0"));
        }
        let image = Self::new(planes.luma.size, sys::AVIF_PIXEL_FORMAT_YUV420)?;
        image.with_planes(&[&planes.luma, blue, red])
    }

    fn of_grey(raster: &'p Raster) -> Result<Self, TransformError> {
        Self::new(raster.size, sys::AVIF_PIXEL_FORMAT_YUV400)?.with_planes(&[raster])
    }

    /// The planes stay the caller's: `imageOwnsYUVPlanes` is left at false.
    fn with_planes(mut self, planes: &[&'p Raster]) -> Result<Self, TransformError> {
        // SAFETY: a live image of our own.
        let fields = unsafe { self.image.as_mut() };
        for (at, plane) in planes.iter().enumerate() {
            if !plane.holds_its_size() {
                return Err(failed("pixels of another size"));
            }
            // libavif only reads the planes of an image that is encoded.
            fields.yuvPlanes[at] = plane.samples.as_ptr().cast_mut();
            fields.yuvRowBytes[at] = plane.size.width;
        }
        Ok(self)
    }

    /// Converted into planes of the image's own.
    fn of_pixels(raster: &mut Raster) -> Result<Self, TransformError> {
        let image = Self::new(raster.size, sys::AVIF_PIXEL_FORMAT_YUV420)?;
        let view = view(raster);
        // SAFETY: `view` describes the raster's samples, which are as many as its size and format
        // need; the image allocates what they are converted into.
        let converted = unsafe { sys::avifImageRGBToYUV(image.image.as_ptr(), &view) };
        checked(converted, failed)?;
        Ok(image)
    }

    fn set_exif(&mut self, exif: Option<Vec<u8>>) -> Result<(), TransformError> {
        let Some(exif) = exif else {
            return Ok(());
        };
        // SAFETY: copies `len` bytes from a live slice into a live image.
        let set = unsafe {
            sys::avifImageSetMetadataExif(self.image.as_ptr(), exif.as_ptr(), exif.len())
        };
        checked(set, failed)
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        // SAFETY: created by `avifImageCreate`, not used again; planes that it doesn't own are
        // left alone.
        unsafe { sys::avifImageDestroy(self.image.as_ptr()) };
    }
}

struct Encoder(NonNull<sys::avifEncoder>);

impl Encoder {
    fn new(quality: u8) -> Result<Self, TransformError> {
        // SAFETY: creates an encoder or gives null.
        let encoder = NonNull::new(unsafe { sys::avifEncoderCreate() });
        let mut encoder = Self(encoder.ok_or_else(|| failed("no memory"))?);
        // SAFETY: just created, and nobody else's.
        let settings = unsafe { encoder.0.as_mut() };
        settings.codecChoice = sys::AVIF_CODEC_CHOICE_AOM;
        settings.maxThreads = 1;
        settings.speed = SPEED;
        let quality = (u32::from(quality) * QUALITY_PERCENT + 50) / 100;
        settings.quality = c_int::try_from(quality).expect("at most 100");
        settings.qualityAlpha = settings.quality;
        Ok(encoder)
    }

    fn write(&mut self, image: &Image) -> Result<Vec<u8>, TransformError> {
        let mut output = Output(sys::avifRWData::default());
        // SAFETY: a live encoder and a live image whose planes are borrowed by it; `output` is
        // empty, and freed when dropped.
        let written =
            unsafe { sys::avifEncoderWrite(self.0.as_ptr(), image.image.as_ptr(), &mut output.0) };
        checked(written, failed)?;
        Ok(data(&output.0).to_vec())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: created by `avifEncoderCreate`, not used again.
        unsafe { sys::avifEncoderDestroy(self.0.as_ptr()) };
    }
}

struct Output(sys::avifRWData);

impl Drop for Output {
    fn drop(&mut self) {
        // SAFETY: empty, or filled by libavif.
        unsafe { sys::avifRWDataFree(&mut self.0) };
    }
}

fn data(data: &sys::avifRWData) -> &[u8] {
    if data.data.is_null() {
        return &[];
    }
    // SAFETY: libavif's buffers hold `size` initialised bytes, and live as long as their owner,
    // which is borrowed.
    unsafe { std::slice::from_raw_parts(data.data, data.size) }
}

/// The raster's samples as libavif sees them. RGB or RGBA.
fn view(raster: &mut Raster) -> sys::avifRGBImage {
    let format = if raster.layout == Layout::Rgba {
        sys::AVIF_RGB_FORMAT_RGBA
    } else {
        sys::AVIF_RGB_FORMAT_RGB
    };
    sys::avifRGBImage {
        width: raster.size.width,
        height: raster.size.height,
        depth: 8,
        format,
        maxThreads: 1,
        rowBytes: u32::try_from(raster.stride()).expect("a side has 16 bits"),
        pixels: raster.samples.as_mut_ptr(),
        ..sys::avifRGBImage::default()
    }
}

fn checked(
    result: sys::avifResult,
    error: impl Fn(&str) -> TransformError,
) -> Result<(), TransformError> {
    if result == sys::AVIF_RESULT_OK {
        return Ok(());
    }
    // SAFETY: gives a static, terminated string for whatever number.
    let words = unsafe { CStr::from_ptr(sys::avifResultToString(result)) };
    Err(error(&words.to_string_lossy()))
}

fn corrupt(what: &str) -> TransformError {
    TransformError::Corrupt(format!("AVIF: {what}"))
}

fn failed(what: &str) -> TransformError {
    TransformError::Encode(format!("AVIF: {what}"))
}
