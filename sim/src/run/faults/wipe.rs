//! A replaced disk: the broker is killed and starts on an empty one. The operator makes its topics
//! again; what was in them is gone.

use super::Stage;
use crate::{event::Work, scenario::Fault};

impl Stage {
    pub(super) async fn wipe(&self, fault: &Fault) {
        {
            let _up = self.process_faults().lock().await;
            let server = self.server();
            server.kill();
            self.strike(fault, "of the disk");
            self.damaged("the disk was replaced".to_owned());
            let told = Work::DamageTold {
                partition: None,
                how: "an empty disk is a new broker's".to_owned(),
            };
            self.world().recorder().work(server.node().id(), told);
            server.node().disk().wipe();
            self.world().clock().sleep(fault.lasts.0).await;
            server.start();
        }
        if self.wait_until_ready().await {
            self.make_topics().await;
        }
    }
}
