//! The photos of the demonstration: what stands before what.

use super::noise::Fractal;
use super::scene::{Band, Colour, Point, Scene, Shape, Solid};

const WHITE: Colour = [0.94, 0.93, 0.90];
const STEEL: Colour = [0.62, 0.64, 0.67];
const DARK: Colour = [0.13, 0.13, 0.15];
const RED: Colour = [0.78, 0.16, 0.12];
const ORANGE: Colour = [0.90, 0.46, 0.10];
const TEAL: Colour = [0.10, 0.44, 0.46];
const OAK: Colour = [0.66, 0.46, 0.26];
const PINE: Colour = [0.83, 0.66, 0.42];

/// By the name that the catalogue knows the photo by.
pub fn all() -> Vec<(&'static str, Scene)> {
    vec![
        ("kayak", kayak()),
        ("bicycle", bicycle()),
        ("camera", camera()),
        ("tent", tent()),
        ("ladder", ladder()),
        ("guitar", guitar()),
        ("drill", drill()),
        ("pots", pots()),
    ]
}

fn kayak() -> Scene {
    let hull = vec![
        (500., 2210.),
        (1300., 2060.),
        (2700., 2060.),
        (3500., 2210.),
        (2700., 2360.),
        (1300., 2360.),
    ];
    Scene {
        seed: 11,
        bands: vec![
            sky(1),
            hills(2, 1150., 420., [[0.46, 0.54, 0.62], [0.40, 0.50, 0.55]]),
            hills(3, 1420., 200., [[0.22, 0.36, 0.30], [0.16, 0.26, 0.20]]),
            lake(4, 1600.),
        ],
        solids: vec![
            solid(Shape::Polygon(hull), RED, 130., 70.),
            disc((2000., 2190.), 190., DARK),
            ring((2000., 2190.), 200., 36., WHITE),
            rod((1150., 2520.), (2950., 1900.), 16., PINE),
            rod((1010., 2568.), (1170., 2512.), 66., ORANGE),
            rod((2930., 1907.), (3090., 1852.), 66., ORANGE),
        ],
    }
}

fn bicycle() -> Scene {
    let (rear, front) = ((1150., 2050.), (2850., 2050.));
    let (saddle, head, crank) = ((1560., 1180.), (2560., 1200.), (1840., 2060.));
    let mut solids = vec![ring(rear, 560., 64., DARK), ring(front, 560., 64., DARK)];
    solids.extend(spokes(rear, 530.));
    solids.extend(spokes(front, 530.));
    solids.extend([
        rod(saddle, crank, 30., TEAL),
        rod((1600., 1300.), (2545., 1290.), 30., TEAL),
        rod(crank, head, 36., TEAL),
        rod(crank, rear, 22., TEAL),
        rod((1590., 1290.), rear, 20., TEAL),
        rod((2540., 1080.), front, 28., TEAL),
        rod((1400., 1150.), (1720., 1150.), 48., [0.32, 0.20, 0.12]),
        rod((2540., 1080.), (2420., 960.), 22., STEEL),
        rod((2420., 960.), (2250., 1010.), 34., DARK),
        disc(crank, 120., STEEL),
        rod(crank, (1960., 2230.), 18., STEEL),
    ]);
    Scene {
        seed: 12,
        bands: vec![plaster(5, [0.80, 0.68, 0.52]), paving(6, 2350.)],
        solids,
    }
}

fn camera() -> Scene {
    let mut solids = vec![
        block((900., 1150.), (3100., 2250.), DARK, 60.),
        block((900., 1130.), (3100., 1400.), STEEL, 50.),
        block((1620., 880.), (2380., 1180.), STEEL, 70.),
        block((1000., 1020.), (1260., 1150.), STEEL, 30.),
        block((2700., 1040.), (2960., 1150.), DARK, 30.),
    ];
    let lens = [
        (590., DARK),
        (520., STEEL),
        (490., DARK),
        (360., [0.10, 0.10, 0.22]),
        (250., [0.16, 0.10, 0.26]),
    ];
    solids.extend(lens.map(|(radius, colour)| disc((2000., 1780.), radius, colour)));
    solids.push(disc((1890., 1660.), 60., [0.75, 0.78, 0.95]));
    Scene {
        seed: 13,
        bands: vec![plaster(7, [0.36, 0.44, 0.46]), table(8, 1900., OAK)],
        solids,
    }
}

fn tent() -> Scene {
    let side = vec![(2050., 1180.), (3250., 2260.), (2300., 2420.)];
    let face = vec![(2050., 1180.), (2300., 2420.), (900., 2330.)];
    let door = vec![(2010., 1480.), (1960., 2390.), (1450., 2360.)];
    Scene {
        seed: 14,
        bands: vec![
            sky(9),
            hills(10, 1200., 260., [[0.30, 0.42, 0.36], [0.20, 0.30, 0.22]]),
            meadow(11, 1560.),
        ],
        solids: vec![
            solid(Shape::Polygon(side), [0.72, 0.34, 0.08], 300., 90.),
            solid(Shape::Polygon(face), ORANGE, 260., 90.),
            solid(Shape::Polygon(door), [0.20, 0.13, 0.08], 120., 0.),
            rod((900., 2330.), (640., 2480.), 7., WHITE),
            rod((3250., 2260.), (3560., 2400.), 7., WHITE),
            rod((2050., 1180.), (2050., 1120.), 14., STEEL),
        ],
    }
}

fn ladder() -> Scene {
    let mut solids: Vec<Solid> = (0..9)
        .map(|step| {
            let share = (step as f32 + 0.5) / 9.0;
            let y = 2640. - share * 2380.;
            rod(
                (1480. + share * 220., y),
                (2520. - share * 100., y),
                30.,
                OAK,
            )
        })
        .collect();
    solids.push(rod((1480., 2700.), (1710., 180.), 52., PINE));
    solids.push(rod((2520., 2700.), (2420., 180.), 52., PINE));
    Scene {
        seed: 15,
        bands: vec![plaster(12, [0.66, 0.72, 0.70]), meadow(13, 2480.)],
        solids,
    }
}

fn guitar() -> Scene {
    let mut solids = vec![
        disc((1350., 1820.), 700., PINE),
        disc((2060., 1560.), 540., PINE),
        disc((1900., 1620.), 190., DARK),
        ring((1900., 1620.), 215., 40., OAK),
        rod((2080., 1555.), (3420., 1065.), 78., [0.24, 0.15, 0.10]),
        rod((3420., 1065.), (3700., 963.), 120., OAK),
        rod((1150., 1650.), (1330., 2130.), 40., [0.24, 0.15, 0.10]),
    ];
    solids.extend((0..6).map(|string| {
        let aside = (string as f32 - 2.5) * 20.;
        let from = (1240. + aside * 0.36, 1890. + aside * 1.8);
        rod(from, (3600. + aside * 0.36, 1000. + aside), 4., WHITE)
    }));
    Scene {
        seed: 16,
        bands: vec![plaster(14, [0.30, 0.40, 0.52]), table(15, 2250., OAK)],
        solids,
    }
}

fn drill() -> Scene {
    let grip = vec![
        (1250., 1500.),
        (1640., 1500.),
        (1520., 2200.),
        (1080., 2200.),
    ];
    Scene {
        seed: 17,
        bands: vec![plaster(16, [0.72, 0.70, 0.66]), table(17, 1700., PINE)],
        solids: vec![
            solid(Shape::Polygon(grip), DARK, 90., 70.),
            block((900., 2160.), (1720., 2470.), TEAL, 60.),
            rod((1250., 1330.), (2150., 1330.), 270., TEAL),
            rod((2300., 1330.), (2520., 1330.), 190., DARK),
            rod((2640., 1330.), (2760., 1330.), 110., STEEL),
            rod((2800., 1330.), (3480., 1330.), 26., STEEL),
            block((1620., 1620.), (1720., 1800.), RED, 30.),
            rod((1150., 1210.), (2050., 1210.), 14., WHITE),
        ],
    }
}

fn pots() -> Scene {
    let mut solids = Vec::new();
    let row = [
        (850., 1950., 430., STEEL),
        (2000., 1850., 560., RED),
        (3200., 2000., 400., STEEL),
    ];
    for (x, y, size, colour) in row {
        solids.extend([
            rod((x - size * 1.2, y), (x + size * 1.2, y), 34., DARK),
            block(
                (x - size, y - size * 0.55),
                (x + size, y + size * 0.75),
                colour,
                size * 0.5,
            ),
            rod(
                (x - size, y - size * 0.55),
                (x + size, y - size * 0.55),
                46.,
                STEEL,
            ),
            rod(
                (x - size * 0.8, y - size * 0.68),
                (x + size * 0.8, y - size * 0.68),
                40.,
                colour,
            ),
            disc((x, y - size * 0.9), 70., DARK),
        ]);
    }
    Scene {
        seed: 18,
        bands: vec![tiles(18), table(19, 2200., OAK)],
        solids,
    }
}

// Grounds.

fn sky(seed: u32) -> Band {
    let texture = Fractal {
        seed,
        cell: (1300., 420.),
        octaves: 7,
    };
    Band {
        tint: WHITE,
        contrast: 0.75,
        texture,
        ..plain(0., [[0.24, 0.46, 0.78], [0.80, 0.85, 0.88]])
    }
}

fn hills(seed: u32, top: f32, height: f32, colours: [Colour; 2]) -> Band {
    let texture = Fractal {
        seed,
        cell: (90., 60.),
        octaves: 5,
    };
    let tint = colours[0].map(|channel| channel * 0.45);
    Band {
        ridge: (height, 1400.),
        tint,
        contrast: 0.8,
        texture,
        ..plain(top, colours)
    }
}

fn lake(seed: u32, top: f32) -> Band {
    let texture = Fractal {
        seed,
        cell: (420., 34.),
        octaves: 5,
    };
    let colours = [[0.55, 0.66, 0.74], [0.10, 0.26, 0.34]];
    Band {
        tint: [0.80, 0.86, 0.90],
        contrast: 0.42,
        texture,
        ..plain(top, colours)
    }
}

fn meadow(seed: u32, top: f32) -> Band {
    let texture = Fractal {
        seed,
        cell: (22., 90.),
        octaves: 4,
    };
    let colours = [[0.42, 0.54, 0.22], [0.26, 0.42, 0.12]];
    Band {
        ridge: (30., 500.),
        tint: [0.10, 0.20, 0.05],
        contrast: 0.8,
        texture,
        ..plain(top, colours)
    }
}

fn plaster(seed: u32, colour: Colour) -> Band {
    let texture = Fractal {
        seed,
        cell: (700., 600.),
        octaves: 9,
    };
    let tint = colour.map(|channel| channel * 0.62);
    Band {
        tint,
        contrast: 0.6,
        texture,
        ..plain(0., [colour, colour.map(|channel| channel * 0.85)])
    }
}

fn tiles(seed: u32) -> Band {
    let texture = Fractal {
        seed,
        cell: (300., 300.),
        octaves: 8,
    };
    let colours = [[0.80, 0.86, 0.84], [0.62, 0.70, 0.68]];
    Band {
        tint: [0.48, 0.60, 0.58],
        contrast: 0.4,
        texture,
        ..plain(0., colours)
    }
}

fn table(seed: u32, top: f32, colour: Colour) -> Band {
    let texture = Fractal {
        seed,
        cell: (1500., 36.),
        octaves: 5,
    };
    let tint = colour.map(|channel| channel * 0.5);
    Band {
        tint,
        contrast: 0.7,
        texture,
        ..plain(top, [colour.map(|channel| channel * 0.9), colour])
    }
}

fn paving(seed: u32, top: f32) -> Band {
    let texture = Fractal {
        seed,
        cell: (120., 40.),
        octaves: 6,
    };
    let colours = [[0.50, 0.48, 0.46], [0.62, 0.60, 0.57]];
    Band {
        tint: [0.28, 0.27, 0.26],
        contrast: 0.7,
        texture,
        ..plain(top, colours)
    }
}

fn plain(top: f32, colours: [Colour; 2]) -> Band {
    let texture = Fractal {
        seed: 0,
        cell: (100., 100.),
        octaves: 1,
    };
    Band {
        top,
        ridge: (0., 1.),
        colours,
        tint: colours[0],
        contrast: 0.,
        texture,
    }
}

// Things.

fn solid(shape: Shape, colour: Colour, bevel: f32, shadow: f32) -> Solid {
    Solid {
        shape,
        colour,
        bevel,
        shadow,
    }
}

fn disc(centre: Point, radius: f32, colour: Colour) -> Solid {
    solid(Shape::Disc { centre, radius }, colour, radius * 0.25, 30.)
}

fn ring(centre: Point, radius: f32, width: f32, colour: Colour) -> Solid {
    solid(
        Shape::Ring {
            centre,
            radius,
            width,
        },
        colour,
        width / 2.,
        30.,
    )
}

fn rod(from: Point, to: Point, radius: f32, colour: Colour) -> Solid {
    solid(
        Shape::Rod { from, to, radius },
        colour,
        radius,
        (radius * 0.8).min(60.),
    )
}

fn block(least: Point, most: Point, colour: Colour, bevel: f32) -> Solid {
    let corners = vec![least, (most.0, least.1), most, (least.0, most.1)];
    solid(Shape::Polygon(corners), colour, bevel, 60.)
}

fn spokes(hub: Point, length: f32) -> impl Iterator<Item = Solid> {
    (0..14).map(move |spoke| {
        let (sine, cosine) = (spoke as f32 / 14.0 * std::f32::consts::TAU).sin_cos();
        rod(
            hub,
            (hub.0 + cosine * length, hub.1 + sine * length),
            4.,
            STEEL,
        )
    })
}
