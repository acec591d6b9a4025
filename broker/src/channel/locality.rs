//! How near a consumer is to its broker: whether both run in one zone, or one region.
//!
//! Rule (NSQ behaviour, of the sources after 1.3.0): with topology-aware consumption a consumer that
//! has said IDENTIFY is of the zone when its zone has the name of the broker's, and of the region when
//! its region has; two empty names are one name. A message goes to a consumer of the zone if one can
//! take it, else to one of the region, else to anybody; a broker that names no zone prefers none, nor
//! one without a region any region. Deliveries are counted by what the consumer is.

use protocol::identify::{Offer, Settings};

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locality {
    /// What its deliveries are counted as.
    pub counts_as: Nearness,
    /// In which line it stands, below [`LINES`]; 0 is served first.
    pub line: usize,
}

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// In the broker's zone.
    Zone,
    /// In another zone of its region.
    Region,
    /// Anywhere.
    Anywhere,
}

/// How many lines of consumers there are, the nearest first.
pub const LINES: usize = 3;

/// Where nobody is preferred all stand in the last line.
impl Default for Locality {
    fn default() -> Self {
        Self { counts_as: Nearness::Anywhere, line: LINES - 1 }
    }
}

impl Locality {
    /// What a consumer that has said IDENTIFY is to a broker, with topology-aware consumption.
    pub fn of(consumer: &Settings, broker: &Offer) -> Self {
        let is_of_zone = consumer.topology_zone == broker.topology_zone;
        let is_of_region = consumer.topology_region == broker.topology_region;
        let counts_as = match (is_of_zone, is_of_region) {
            (true, _) => Nearness::Zone,
            (false, true) => Nearness::Region,
            (false, false) => Nearness::Anywhere,
        };
        let line = match (is_of_zone, is_of_region) {
            (true, _) if !broker.topology_zone.is_empty() => 0,
            (_, true) if !broker.topology_region.is_empty() => 1,
            _ => LINES - 1,
        };
        Self { counts_as, line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::limits::Limits;

    #[test]
    fn the_zone_goes_before_the_region_and_a_name_that_is_not_given_prefers_nobody() {
        use Nearness::{Anywhere, Region, Zone};
        let of = |consumer: [&str; 2], broker: [&str; 2]| {
            let [region, zone] = broker.map(str::to_owned);
            let broker = Offer {
                version: String::new(),
                tls: false,
                snappy: false,
                deflate: false,
                max_deflate_level: 1,
                auth_required: false,
                topology_region: region,
                topology_zone: zone,
            };
            let [region, zone] = consumer.map(str::to_owned);
            let consumer = Settings {
                topology_region: region,
                topology_zone: zone,
                ..Settings::default_for("", &Limits::default())
            };
            let locality = Locality::of(&consumer, &broker);
            (locality.counts_as, locality.line)
        };
        for (consumer, broker, expected) in [
            (["r", "z"], ["r", "z"], (Zone, 0)),
            (["r", "y"], ["r", "z"], (Region, 1)),
            (["q", "y"], ["r", "z"], (Anywhere, 2)),
            // Zones are compared by themselves.
            (["q", "z"], ["r", "z"], (Zone, 0)),
            (["", ""], ["r", "z"], (Anywhere, 2)),
            (["r", ""], ["r", ""], (Zone, 1)),
            (["r", "z"], ["r", ""], (Region, 1)),
            (["", ""], ["r", ""], (Zone, 2)),
            (["", "z"], ["", "z"], (Zone, 0)),
            (["", "y"], ["", "z"], (Region, 2)),
            (["", ""], ["", ""], (Zone, 2)),
            (["r", "z"], ["", ""], (Anywhere, 2)),
        ] {
            assert_eq!(of(consumer, broker), expected, "{consumer:?} of {broker:?}");
        }
        assert_eq!((Locality::default().counts_as, Locality::default().line), (Anywhere, 2));
    }
}
