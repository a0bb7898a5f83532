//! WebP out, by libwebp: lossy, lossless, animated.
//!
//! Planes go in as they are but for their levels: JPEG's are full range, WebP's limited range, of
//! the same BT.601, and both site 4:2:0 chroma between the luma samples.

use crate::ops::with_colour;
use crate::raster::{Layout, Picture, Planar, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use libwebp_sys as sys;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// Effort, 0 to 6. 4 is libwebp's default and sharp's; 2 takes two thirds of its time for 2–4 %
/// more bytes at a visibly lower SSIM.
const METHOD: c_int = 4;

/// In place of a quality: how hard a lossless encoder tries, 0 to 100.
const LOSSLESS_EFFORT: u8 = 75;

/// Lossy, 4:2:0; alpha is kept.
pub fn encode(picture: Picture, quality: u8) -> Result<Vec<u8>, TransformError> {
    let config = config(quality)?;
    match picture {
        Picture::Planar(planar) => {
            let planes = LimitedRange::from(planar);
            Encoder::of_planes(&planes)?.encode(&config)
        }
        Picture::Packed(raster) => Encoder::of_pixels(&with_colour(raster))?.encode(&config),
    }
}

/// Every pixel as it is, but for the colours of what is clear.
pub fn encode_lossless(raster: Raster) -> Result<Vec<u8>, TransformError> {
    let mut config = config(LOSSLESS_EFFORT)?;
    config.lossless = 1;
    Encoder::of_pixels(&with_colour(raster))?.encode(&config)
}

fn config(quality: u8) -> Result<sys::WebPConfig, TransformError> {
    let mut config = sys::WebPConfig::new().map_err(|()| failed("configuration"))?;
    config.quality = f32::from(quality);
    config.method = METHOD;
    Ok(config)
}

/// 4:2:0 planes with luma in 16–235 and chroma in 16–240.
struct LimitedRange(Planar);

impl From<Planar> for LimitedRange {
    fn from(mut full: Planar) -> Self {
        let luma = levels(219);
        full.luma
            .samples
            .iter_mut()
            .for_each(|level| *level = luma[usize::from(*level)]);
        let chroma = levels(224);
        for plane in &mut full.chroma {
            plane
                .samples
                .iter_mut()
                .for_each(|level| *level = chroma[usize::from(*level)]);
        }
        Self(full)
    }
}

/// For each of the 256 full levels, the one of `span + 1` limited levels from 16 up. Chroma's
/// middle, 128, stays where it is.
fn levels(span: u32) -> [u8; 256] {
    std::array::from_fn(|full| {
        let limited = 16 + (full as u32 * span + 127) / 255;
        u8::try_from(limited).expect("16 + 224 is below 256")
    })
}

/// A picture and its output, in libwebp's hands.
struct Encoder<'p> {
    picture: sys::WebPPicture,
    writer: sys::WebPMemoryWriter,
    /// `picture` may point into planes that it doesn't own.
    planes: PhantomData<&'p LimitedRange>,
}

impl<'p> Encoder<'p> {
    fn new(size: Size) -> Result<Self, TransformError> {
        let mut picture = sys::WebPPicture::new().map_err(|()| failed("picture"))?;
        picture.width = length(size.width)?;
        picture.height = length(size.height)?;
        let writer = sys::WebPMemoryWriter {
            mem: ptr::null_mut(),
            size: 0,
            max_size: 0,
            pad: [0],
        };
        Ok(Self {
            picture,
            writer,
            planes: PhantomData,
        })
    }

    fn of_planes(LimitedRange(planes): &'p LimitedRange) -> Result<Self, TransformError> {
        let [blue, red] = &planes.chroma;
        let half = planes.luma.size.halved();
        let is_420 = blue.size == half && red.size == half;
        let mut all = [&planes.luma, blue, red].into_iter();
        if !is_420 || !all.all(Raster::holds_its_size) {
            return Err(failed("planes that aren't 4:2:0"));
        }
        let mut encoder = Self::new(planes.luma.size)?;
        encoder.picture.use_argb = 0;
        encoder.picture.y = planes.luma.samples.as_ptr().cast_mut();
        encoder.picture.u = blue.samples.as_ptr().cast_mut();
        encoder.picture.v = red.samples.as_ptr().cast_mut();
        encoder.picture.y_stride = length(planes.luma.size.width)?;
        encoder.picture.uv_stride = length(half.width)?;
        Ok(encoder)
    }

    fn of_pixels(raster: &Raster) -> Result<Self, TransformError> {
        let mut encoder = Self::new(raster.size)?;
        let import = match raster.layout {
            Layout::Rgb => sys::WebPPictureImportRGB,
            Layout::Rgba => sys::WebPPictureImportRGBA,
            Layout::Grey => return Err(failed("grey pixels")),
        };
        if !raster.holds_its_size() {
            return Err(failed("pixels of another size"));
        }
        let stride = c_int::try_from(raster.stride()).map_err(|_| failed("width"))?;
        // SAFETY: `picture` was initialised by `WebPPicture::new` and has the raster's width and
        // height; `samples` holds `height` rows of `stride` bytes, as checked above, which is all
        // that the import reads. It copies them into memory that `picture` owns and
        // `drop` frees.
        let imported =
            unsafe { import(&mut encoder.picture, raster.samples.as_ptr(), stride) } != 0;
        if imported {
            Ok(encoder)
        } else {
            Err(failed("import"))
        }
    }

    fn encode(mut self, config: &sys::WebPConfig) -> Result<Vec<u8>, TransformError> {
        // SAFETY: `writer` is a plain struct that this call initialises.
        unsafe { sys::WebPMemoryWriterInit(&mut self.writer) };
        self.picture.writer = Some(sys::WebPMemoryWrite);
        self.picture.custom_ptr = ptr::from_mut(&mut self.writer).cast();
        // SAFETY: `self` doesn't move until the end of this function, so `custom_ptr` points to
        // the live writer that `WebPMemoryWrite` expects. The planes are either the picture's own
        // (of_pixels) or borrowed for `'p` with sizes and lengths checked in `of_planes`. libwebp writes
        // to a picture's planes only to clean up under alpha, which borrowed planes don't have.
        let encoded = unsafe { sys::WebPEncode(config, &mut self.picture) } != 0;
        if !encoded {
            return Err(failed(&format!("{:?}", self.picture.error_code)));
        }
        // SAFETY: after success the writer holds `size` initialised bytes at `mem`, which is not
        // null since a WebP file is never empty.
        let bytes = unsafe { std::slice::from_raw_parts(self.writer.mem, self.writer.size) };
        Ok(bytes.to_vec())
    }
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        // SAFETY: both were initialised (the writer as empty in `new`), neither is used again, and
        // freeing a picture leaves alone planes that it didn't allocate.
        unsafe {
            sys::WebPMemoryWriterClear(&mut self.writer);
            sys::WebPPictureFree(&mut self.picture);
        }
    }
}

/// An animation that is written frame by frame, all of one size.
pub struct Animation {
    encoder: NonNull<sys::WebPAnimEncoder>,
    config: sys::WebPConfig,
    size: Size,
    /// Milliseconds from the start to the next frame.
    next: c_int,
}

impl Animation {
    /// `quality` is `None` for a lossless one.
    pub fn new(size: Size, quality: Option<u8>) -> Result<Self, TransformError> {
        let mut config = config(quality.unwrap_or(LOSSLESS_EFFORT))?;
        config.lossless = c_int::from(quality.is_none());
        let (width, height) = (length(size.width)?, length(size.height)?);
        // SAFETY: without options the encoder takes its defaults; it gives null for a wrong size.
        let encoder = unsafe {
            sys::WebPAnimEncoderNewInternal(
                width,
                height,
                ptr::null(),
                sys::WEBP_MUX_ABI_VERSION as c_int,
            )
        };
        Ok(Self {
            encoder: NonNull::new(encoder).ok_or_else(|| failed("animation"))?,
            config,
            size,
            next: 0,
        })
    }

    /// The next frame, and how long it is shown in milliseconds.
    pub fn add(&mut self, frame: Raster, shown_for: u32) -> Result<(), TransformError> {
        if frame.size != self.size {
            return Err(failed("a frame of another size"));
        }
        let mut frame = Encoder::of_pixels(&with_colour(frame))?;
        // SAFETY: a live encoder, and a picture of its size that owns its pixels.
        let added = unsafe {
            sys::WebPAnimEncoderAdd(
                self.encoder.as_ptr(),
                &mut frame.picture,
                self.next,
                &self.config,
            )
        };
        let shown_for = c_int::try_from(shown_for).unwrap_or(c_int::MAX);
        self.next = self.next.saturating_add(shown_for);
        if added == 0 {
            Err(failed("frame"))
        } else {
            Ok(())
        }
    }

    pub fn finish(self) -> Result<Vec<u8>, TransformError> {
        let mut data = sys::WebPData {
            bytes: ptr::null(),
            size: 0,
        };
        // SAFETY: a live encoder; a frame without a picture says when the last one ends. What it
        // assembles into `data` is copied and freed.
        unsafe {
            let encoder = self.encoder.as_ptr();
            let ended =
                sys::WebPAnimEncoderAdd(encoder, ptr::null_mut(), self.next, ptr::null()) != 0;
            if !ended || sys::WebPAnimEncoderAssemble(encoder, &mut data) == 0 {
                return Err(failed("animation"));
            }
            let bytes = std::slice::from_raw_parts(data.bytes, data.size).to_vec();
            sys::WebPFree(data.bytes.cast_mut().cast());
            Ok(bytes)
        }
    }
}

impl Drop for Animation {
    fn drop(&mut self) {
        // SAFETY: created by `WebPAnimEncoderNewInternal`, not used again.
        unsafe { sys::WebPAnimEncoderDelete(self.encoder.as_ptr()) };
    }
}

fn length(pixels: u32) -> Result<c_int, TransformError> {
    c_int::try_from(pixels).map_err(|_| failed("size"))
}

fn failed(what: &str) -> TransformError {
    TransformError::Encode(format!("WebP: {what}"))
}
