//! libjpeg-turbo's planes, for the tests and for the bench beside it.

use turbojpeg::{Decompressor, ScalingFactor, YuvImage};

/// Y, Cb and Cr (or Y), one behind the other without padding.
pub fn planes(jpeg: &[u8], eighths: u8) -> turbojpeg::Result<YuvImage<Vec<u8>>> {
    let mut decompressor = Decompressor::new()?;
    let scale = ScalingFactor::new(usize::from(eighths), 8);
    let header = decompressor.read_header(jpeg)?.scaled(scale);
    decompressor.set_scaling_factor(scale)?;
    let len = turbojpeg::yuv_pixels_len(header.width, 1, header.height, header.subsamp)?;
    let mut image = YuvImage {
        pixels: vec![0; len],
        width: header.width,
        align: 1,
        height: header.height,
        subsamp: header.subsamp,
    };
    decompressor.decompress_to_yuv(jpeg, image.as_deref_mut())?;
    Ok(image)
}
