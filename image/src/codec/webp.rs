//! WebP out, by libwebp.
//!
//! Planes go in as they are but for their levels: JPEG's are full range, WebP's limited range, of
//! the same BT.601, and both site 4:2:0 chroma between the luma samples.

use crate::raster::{Layout, Picture, Planar, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use libwebp_sys as sys;
use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr;

/// Effort, 0 to 6. 4 is libwebp's default and sharp's; 2 takes two thirds of its time for 2–4 %
/// more bytes at a visibly lower SSIM.
const METHOD: c_int = 4;

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

fn config(quality: u8) -> Result<sys::WebPConfig, TransformError> {
    let mut config = sys::WebPConfig::new().map_err(|()| failed("configuration"))?;
    config.quality = f32::from(quality);
    config.method = METHOD;
    Ok(config)
}

/// libwebp reads no grey pixels.
fn with_colour(raster: Raster) -> Raster {
    if raster.layout != Layout::Grey {
        return raster;
    }
    let samples = raster.samples.iter().flat_map(|&grey| [grey; 3]).collect();
    Raster::whole(raster.size, Layout::Rgb, samples)
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

fn length(pixels: u32) -> Result<c_int, TransformError> {
    c_int::try_from(pixels).map_err(|_| failed("size"))
}

fn failed(what: &str) -> TransformError {
    TransformError::Encode(format!("WebP: {what}"))
}
