//! Other settings: the broker is stopped in good order and comes back with them.

use super::{Stage, down::Way};
use crate::scenario::Fault;

impl Stage {
    pub(super) async fn reconfigure(&self, fault: &Fault) {
        let config = fault.with.config.iter();
        let text: Vec<String> = config
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        self.strike(fault, &format!("with {}", text.join(", ")));
        self.server().reconfigure(&fault.with.config);
        self.down(fault, Way::Stop).await;
    }
}
