//! Where something is on Earth, and how far that is from somewhere else.

use super::fields::Fields;
use serde::{Serialize, Serializer};

/// Mean radius. The Earth is taken for a sphere, which is right within half a percent.
const EARTH_METRES: f64 = 6_371_009.0;

/// In millionths of a degree, a tenth of a metre: whole numbers, as databases compare them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Position {
    #[serde(serialize_with = "as_degrees")]
    pub latitude: i64,
    #[serde(serialize_with = "as_degrees")]
    pub longitude: i64,
}

impl Position {
    pub fn read(fields: &mut Fields) -> Self {
        Self {
            latitude: fields.degrees("latitude", 90),
            longitude: fields.degrees("longitude", 180),
        }
    }

    /// Along the surface. Haversine.
    pub fn metres_to(self, other: Self) -> i64 {
        let radians = |millionths: i64| (millionths as f64 / 1e6).to_radians();
        let half_sine = |from: i64, to: i64| (radians(to - from) / 2.0).sin();
        let across = half_sine(self.latitude, other.latitude).powi(2);
        let along = half_sine(self.longitude, other.longitude).powi(2);
        let shrunk = radians(self.latitude).cos() * radians(other.latitude).cos();
        let chord = (across + shrunk * along).clamp(0.0, 1.0);
        (2.0 * EARTH_METRES * chord.sqrt().asin()).round() as i64
    }
}

fn as_degrees<S: Serializer>(millionths: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    (*millionths as f64 / 1e6).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(latitude: f64, longitude: f64) -> Position {
        let millionths = |degrees: f64| (degrees * 1e6).round() as i64;
        Position {
            latitude: millionths(latitude),
            longitude: millionths(longitude),
        }
    }

    #[test]
    fn distances_are_those_of_an_atlas() {
        let (berlin, paris) = (at(52.52, 13.405), at(48.8566, 2.3522));
        assert!((877_000..879_000).contains(&berlin.metres_to(paris)));
        // Across the date line, and from pole to pole.
        assert!((22_000..23_000).contains(&at(0.0, 179.9).metres_to(at(0.0, -179.9))));
        assert!((20_015_000..20_016_000).contains(&at(90.0, 0.0).metres_to(at(-90.0, 50.0))));
    }

    proptest! {
        #[test]
        fn it_is_as_far_there_as_back(
            here in (-90.0..90.0, -180.0..180.0),
            there in (-90.0..90.0, -180.0..180.0),
        ) {
            let (here, there) = (at(here.0, here.1), at(there.0, there.1));
            prop_assert_eq!(here.metres_to(there), there.metres_to(here));
            prop_assert_eq!(here.metres_to(here), 0);
        }
    }
}
