//! Scenes: bands of ground behind, shaded solids before them, drawn a row at a time straight into
//! the JPEG encoder, so that no picture is ever held in memory.
//!
//! Lengths are in pixels of 4000×3000; colours are sRGB from 0 to 1; light falls from the upper left.

use super::noise::{Fractal, add_grain};
use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor};

pub const WIDTH: u16 = 4000;
pub const HEIGHT: u16 = 3000;
const QUALITY: u8 = 88;

pub type Colour = [f32; 3];
pub type Point = (f32, f32);

pub struct Scene {
    pub seed: u32,
    /// From the back to the front; the first must begin at the top.
    pub bands: Vec<Band>,
    pub solids: Vec<Solid>,
}

/// Everything below an uneven line: sky, hills, water, a wall, a table.
pub struct Band {
    pub top: f32,
    /// How far the line strays from `top`, and over which distance.
    pub ridge: (f32, f32),
    /// At its top and at the bottom of the picture.
    pub colours: [Colour; 2],
    /// The colour that the texture blends in, and how much of it.
    pub tint: Colour,
    pub contrast: f32,
    pub texture: Fractal,
}

pub struct Solid {
    pub shape: Shape,
    pub colour: Colour,
    /// How far the rounding reaches in from the edge; small is flat.
    pub bevel: f32,
    /// How far the shadow falls, and how soft it is; 0 for none.
    pub shadow: f32,
}

pub enum Shape {
    Disc {
        centre: Point,
        radius: f32,
    },
    Ring {
        centre: Point,
        radius: f32,
        width: f32,
    },
    Rod {
        from: Point,
        to: Point,
        radius: f32,
    },
    /// Convex, clockwise as seen.
    Polygon(Vec<Point>),
}

impl Scene {
    /// Baseline, 4:2:0, as cameras write it.
    pub fn jpeg(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, QUALITY);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        let picture = Picture {
            scene: self,
            ridges: self.bands.iter().map(Band::ridge).collect(),
        };
        encoder
            .encode_image(picture)
            .expect("memory takes any picture of valid size");
        bytes
    }
}

struct Picture<'a> {
    scene: &'a Scene,
    ridges: Vec<Ridge>,
}

/// A band's upper line, per column.
struct Ridge {
    line: Vec<f32>,
    lowest: f32,
}

struct Row {
    y: f32,
    pixels: Vec<Colour>,
    noise: Vec<f32>,
}

impl ImageBuffer for Picture<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        WIDTH
    }

    fn height(&self) -> u16 {
        HEIGHT
    }

    fn fill_buffers(&self, y: u16, planes: &mut [Vec<u8>; 4]) {
        let width = usize::from(WIDTH);
        let mut row = Row {
            y: y.into(),
            pixels: vec![[0.0; 3]; width],
            noise: vec![0.0; width],
        };
        self.draw_bands(&mut row);
        for solid in &self.scene.solids {
            solid.draw(&mut row);
        }
        develop(self.scene.seed, row, planes);
    }
}

impl Picture<'_> {
    /// Begins with the front-most band that hides all before it.
    fn draw_bands(&self, row: &mut Row) {
        let first = self
            .ridges
            .iter()
            .rposition(|ridge| ridge.lowest <= row.y)
            .unwrap_or(0);
        let behind = self.scene.bands.iter().zip(&self.ridges).skip(first);
        for (band, ridge) in behind {
            if row.y >= band.top - band.ridge.0 {
                band.draw(ridge, row);
            }
        }
    }
}

impl Band {
    fn ridge(&self) -> Ridge {
        let mut line = vec![0.0; usize::from(WIDTH)];
        let (height, distance) = self.ridge;
        if height > 0.0 {
            let outline = Fractal {
                cell: (distance, 1.0),
                octaves: 6,
                seed: self.texture.seed ^ 0x51,
            };
            outline.fill_row(0.0, &mut line);
        }
        line.iter_mut().for_each(|y| *y = self.top + *y * height);
        let lowest = line.iter().copied().fold(f32::MIN, f32::max);
        Ridge { line, lowest }
    }

    fn draw(&self, ridge: &Ridge, row: &mut Row) {
        self.texture.fill_row(row.y, &mut row.noise);
        let depth = ((row.y - self.top) / (f32::from(HEIGHT) - self.top)).clamp(0.0, 1.0);
        let ground = blend(self.colours[0], self.colours[1], depth);
        for ((pixel, noise), top) in row.pixels.iter_mut().zip(&row.noise).zip(&ridge.line) {
            let cover = (row.y - top + 0.5).clamp(0.0, 1.0);
            let tinted = (0.5 + noise).clamp(0.0, 1.0) * self.contrast;
            *pixel = blend(*pixel, blend(ground, self.tint, tinted), cover);
        }
    }
}

impl Solid {
    fn draw(&self, row: &mut Row) {
        let ((left, top), (right, bottom)) = self.shape.bounds();
        let reach = self.shadow * 2.0;
        if row.y < top - 1.0 || row.y > bottom + reach {
            return;
        }
        let first = (left - 1.0).max(0.0) as usize;
        let last = ((right + reach).max(0.0) as usize).min(row.pixels.len());
        for x in first..last {
            let at = (x as f32, row.y);
            let pixel = &mut row.pixels[x];
            let distance = self.shape.distance(at);
            if distance < 0.5 {
                *pixel = blend(*pixel, self.lit(at, distance), (0.5 - distance).min(1.0));
            } else if self.shadow > 0.0 {
                let from = self
                    .shape
                    .distance((at.0 - self.shadow, at.1 - self.shadow));
                let shade = (0.5 - from / self.shadow).clamp(0.0, 1.0) * 0.45;
                *pixel = pixel.map(|channel| channel * (1.0 - shade));
            }
        }
    }

    /// Edges turned to the light are bright, those turned away are dark; the middle shines a little.
    fn lit(&self, at: Point, distance: f32) -> Colour {
        let inside = (-distance / self.bevel).clamp(0.0, 1.0);
        let towards_light = self.shape.distance((at.0 - 2.0, at.1 - 2.0)) - distance;
        let slope = towards_light * 0.35 * (1.0 - inside);
        let light = 0.78 + 0.22 * inside + slope * 0.45;
        let shine = (slope - 0.55).max(0.0) * 0.5;
        self.colour.map(|channel| channel * light + shine)
    }
}

impl Shape {
    /// To the edge; negative inside.
    fn distance(&self, (x, y): Point) -> f32 {
        match self {
            Self::Disc { centre, radius } => length(x - centre.0, y - centre.1) - radius,
            Self::Ring {
                centre,
                radius,
                width,
            } => (length(x - centre.0, y - centre.1) - radius).abs() - width / 2.0,
            Self::Rod { from, to, radius } => {
                let (dx, dy) = (to.0 - from.0, to.1 - from.1);
                let along = ((x - from.0) * dx + (y - from.1) * dy) / (dx * dx + dy * dy);
                let along = along.clamp(0.0, 1.0);
                length(x - from.0 - dx * along, y - from.1 - dy * along) - radius
            }
            Self::Polygon(corners) => {
                let next = corners.iter().cycle().skip(1);
                let sides = corners.iter().zip(next).map(|(a, b)| {
                    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
                    ((x - a.0) * dy - (y - a.1) * dx) / length(dx, dy)
                });
                sides.fold(f32::MIN, f32::max)
            }
        }
    }

    fn bounds(&self) -> (Point, Point) {
        let around = |(x, y): Point, r: f32| ((x - r, y - r), (x + r, y + r));
        match self {
            Self::Disc { centre, radius } => around(*centre, *radius),
            Self::Ring {
                centre,
                radius,
                width,
            } => around(*centre, radius + width / 2.0),
            Self::Rod { from, to, radius } => {
                hull([around(*from, *radius), around(*to, *radius)].into_iter())
            }
            Self::Polygon(corners) => hull(corners.iter().map(|corner| (*corner, *corner))),
        }
    }
}

fn hull(boxes: impl Iterator<Item = (Point, Point)>) -> (Point, Point) {
    let nothing = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
    boxes.fold(nothing, |(least, most), (a, b)| {
        (
            (least.0.min(a.0), least.1.min(a.1)),
            (most.0.max(b.0), most.1.max(b.1)),
        )
    })
}

/// What a camera adds, darker corners and grain, and then its colour space (BT.601, full range).
fn develop(seed: u32, mut row: Row, planes: &mut [Vec<u8>; 4]) {
    row.noise.fill(0.0);
    add_grain(seed, row.y as u32, 0.035, &mut row.noise);
    let down = (row.y / f32::from(HEIGHT) - 0.5).powi(2);
    for (x, (pixel, grain)) in row.pixels.iter_mut().zip(&row.noise).enumerate() {
        let across = (x as f32 / f32::from(WIDTH) - 0.5).powi(2);
        let light = 1.06 - 0.5 * (across + down);
        *pixel = pixel.map(|channel| ((channel * light + grain) * 255.0).clamp(0.0, 255.0));
    }
    let weights = [
        (0.0, [0.299, 0.587, 0.114]),
        (128.0, [-0.168_74, -0.331_26, 0.5]),
        (128.0, [0.5, -0.418_69, -0.081_31]),
    ];
    for (plane, (base, [r, g, b])) in planes.iter_mut().zip(weights) {
        let values = row
            .pixels
            .iter()
            .map(|p| (base + r * p[0] + g * p[1] + b * p[2]) as u8);
        plane.extend(values);
    }
}

/// Unlike `hypot`, inlined, and the same on every machine.
fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

fn blend(from: Colour, to: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|channel| from[channel] + (to[channel] - from[channel]) * share)
}
