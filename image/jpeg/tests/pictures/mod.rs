//! Pictures drawn here, JPEGs of them, and libjpeg-turbo's planes of those.
#![allow(dead_code, reason = "each test file uses its part")]

mod libjpeg_turbo;
pub mod mutation;

use turbojpeg::{Compressor, PixelFormat, Subsamp, raw};

pub const SUBSAMPLINGS: [Subsamp; 5] = [
    Subsamp::None,
    Subsamp::Sub2x1,
    Subsamp::Sub1x2,
    Subsamp::Sub2x2,
    Subsamp::Gray,
];

/// Packed RGB.
#[derive(Clone)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

impl Picture {
    fn draw(width: usize, height: usize, mut colour: impl FnMut(f64, f64) -> [f64; 3]) -> Self {
        let mut rgb = Vec::new();
        for at in 0..width * height {
            let (x, y) = ((at % width) as f64, (at / width) as f64);
            rgb.extend(colour(x, y).map(|level| level.clamp(0.0, 255.0) as u8));
        }
        Self { width, height, rgb }
    }

    pub fn gradient(width: usize, height: usize) -> Self {
        let (w, h) = (width as f64, height as f64);
        Self::draw(width, height, |x, y| {
            [255.0 * x / w, 255.0 * y / h, 255.0 * (1.0 - x / w)]
        })
    }

    pub fn noise(width: usize, height: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        Self::draw(width, height, |_, _| {
            [(); 3].map(|()| f64::from(random.byte()))
        })
    }

    /// Waves of all lengths, the longer the stronger, with edges and a little noise: about as much
    /// of each frequency as photographs have.
    pub fn photo(width: usize, height: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let waves: Vec<[f64; 5]> = (0..24)
            .map(|octave| wave(octave / 3, &mut random))
            .collect();
        Self::draw(width, height, |x, y| {
            let at = |[fx, fy, phase, strength, _]: &[f64; 5]| {
                strength * (fx * x + fy * y + phase).sin()
            };
            let light: f64 = 120.0 + waves.iter().map(at).sum::<f64>();
            let edge = if (x / 23.0).sin() + (y / 31.0).cos() > 0.7 {
                50.0
            } else {
                0.0
            };
            let grain = f64::from(random.byte()) / 24.0;
            let tint = waves.iter().map(|wave| wave[4] * at(wave)).sum::<f64>();
            [
                light + edge + tint + grain,
                light + grain,
                light + edge - tint + grain,
            ]
        })
    }

    /// No black and no white, so that nothing is clamped.
    pub fn muted(mut self) -> Self {
        self.rgb
            .iter_mut()
            .for_each(|level| *level = 80 + *level / 3);
        self
    }
}

fn wave(octave: i32, random: &mut Random) -> [f64; 5] {
    let frequency = 0.012 * 2.0_f64.powi(octave);
    let angle = f64::from(random.byte()) / 40.0;
    let strength = 45.0 / 1.6_f64.powi(octave);
    let [phase, tint] = [random.byte(), random.byte()].map(|byte| f64::from(byte) / 256.0);
    [
        frequency * angle.cos(),
        frequency * angle.sin(),
        6.3 * phase,
        strength,
        tint - 0.5,
    ]
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

pub fn jpeg(picture: &Picture, quality: i32, subsamp: Subsamp, optimised: bool) -> Vec<u8> {
    let mut compressor = compressor(quality, subsamp);
    compressor.set_optimize(optimised).expect("a mode");
    compress(&mut compressor, picture)
}

pub fn progressive(picture: &Picture) -> Vec<u8> {
    let mut compressor = compressor(80, Subsamp::Sub2x2);
    compressor.set_progressive(true).expect("a mode");
    compress(&mut compressor, picture)
}

pub fn arithmetic(picture: &Picture) -> Vec<u8> {
    let mut compressor = compressor(80, Subsamp::Sub2x2);
    compressor.set_arithmetic(true).expect("a mode");
    compress(&mut compressor, picture)
}

fn compressor(quality: i32, subsamp: Subsamp) -> Compressor {
    let mut compressor = Compressor::new().expect("a compressor");
    compressor.set_quality(quality).expect("a quality");
    compressor.set_subsamp(subsamp).expect("a subsampling");
    compressor
}

fn compress(compressor: &mut Compressor, picture: &Picture) -> Vec<u8> {
    let image = turbojpeg::Image {
        pixels: picture.rgb.as_slice(),
        width: picture.width,
        pitch: picture.width * 3,
        height: picture.height,
        format: PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).expect("a JPEG")
}

/// With a restart marker every `interval` MCUs, which the safe interface can't ask for.
#[allow(unsafe_code)]
pub fn jpeg_with_restarts(picture: &Picture, subsamp: Subsamp, interval: i32) -> Vec<u8> {
    let (mut bytes, mut size) = (std::ptr::null_mut(), 0);
    let (width, height) = (picture.width as i32, picture.height as i32);
    let set = [
        (raw::TJPARAM_TJPARAM_QUALITY, 85),
        (raw::TJPARAM_TJPARAM_SUBSAMP, subsamp as i32),
        (raw::TJPARAM_TJPARAM_RESTARTBLOCKS, interval),
    ];
    // SAFETY: `rgb` holds `width` × `height` packed pixels; the library allocates `bytes`, which are
    // copied before they are freed, once.
    unsafe {
        let handle = raw::tj3Init(raw::TJINIT_TJINIT_COMPRESS as i32);
        for (parameter, value) in set {
            assert_eq!(raw::tj3Set(handle, parameter as i32, value), 0);
        }
        let format = PixelFormat::RGB as i32;
        let pixels = picture.rgb.as_ptr();
        let result = raw::tj3Compress8(
            handle,
            pixels,
            width,
            3 * width,
            height,
            format,
            &mut bytes,
            &mut size,
        );
        assert_eq!(result, 0);
        let jpeg = std::slice::from_raw_parts(bytes, size as usize).to_vec();
        raw::tj3Free(bytes.cast());
        raw::tj3Destroy(handle);
        jpeg
    }
}

/// One plane of libjpeg-turbo's: its width, and its samples.
pub type TurboPlane = (usize, Vec<u8>);

/// Y, Cb and Cr (or Y) by libjpeg-turbo. Luma may have a column and a row more than the picture.
pub fn turbo(jpeg: &[u8], eighths: u8) -> turbojpeg::Result<Vec<TurboPlane>> {
    let image = libjpeg_turbo::planes(jpeg, eighths)?;
    let sizes = match image.subsamp {
        Subsamp::Gray => vec![image.y_size()],
        _ => vec![image.y_size(), image.uv_size(), image.uv_size()],
    };
    let mut rest = image.pixels;
    let planes = sizes.into_iter().map(|(width, height)| {
        let behind = rest.split_off(width * height);
        (width, std::mem::replace(&mut rest, behind))
    });
    Ok(planes.collect())
}

/// How two decodings of a picture differ: the largest difference, and the mean one.
#[derive(Default, Debug, Clone, Copy)]
pub struct Difference {
    pub most: u8,
    pub sum: u64,
    pub samples: u64,
}

impl Difference {
    pub fn add(&mut self, ours: u8, theirs: u8) {
        let difference = ours.abs_diff(theirs);
        self.most = self.most.max(difference);
        self.sum += u64::from(difference);
        self.samples += 1;
    }

    pub fn plus(self, other: Self) -> Self {
        Self {
            most: self.most.max(other.most),
            sum: self.sum + other.sum,
            samples: self.samples + other.samples,
        }
    }

    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.samples.max(1) as f64
    }
}

pub fn planes(ours: &lakh_jpeg::Planes) -> Vec<&lakh_jpeg::Plane> {
    std::iter::once(&ours.luma)
        .chain(ours.chroma.iter().flatten())
        .collect()
}

/// Over all planes; panics if their number or sizes don't agree.
pub fn difference(ours: &lakh_jpeg::Planes, theirs: &[TurboPlane]) -> Difference {
    let ours = planes(ours);
    assert_eq!(ours.len(), theirs.len());
    let mut difference = Difference::default();
    for (ours, (width, samples)) in ours.into_iter().zip(theirs) {
        assert!(
            ours.width == *width || ours.width + 1 == *width,
            "{} and {width} columns",
            ours.width
        );
        assert!((samples.len() / width).abs_diff(ours.height) <= 1, "rows");
        assert_eq!(ours.rows().count(), ours.height);
        for (ours, theirs) in ours.rows().zip(samples.chunks(*width)) {
            ours.iter()
                .zip(theirs)
                .for_each(|(&ours, &theirs)| difference.add(ours, theirs));
        }
    }
    difference
}
