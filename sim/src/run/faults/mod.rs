//! Faults of a scenario, put to work and healed: a file for each, or for few that are much alike.
//!
//! Faults of processes, and those that strike once, happen when they begin. All others are conditions
//! that last ([`conditions`]): several may hold at once, and what the world is like follows from all
//! that do.

mod bandwidth;
mod bit_rot;
mod clock;
mod conditions;
mod connects;
mod cut;
mod disk_full;
mod down;
mod half_open;
mod io_errors;
mod misdirect;
mod pause;
mod reconfigure;
mod reset;
mod slow_disk;
mod slow_network;
mod stall;
#[cfg(test)]
mod tests;
mod wipe;

use conditions::Condition;

pub(super) use self::conditions::Conditions;
use super::stage::Stage;
use crate::{
    event::{NodeId, What, Work},
    scenario::{Fault, FaultKind},
};

impl Stage {
    /// Lets a fault befall its node, waits as long as it lasts, and heals it.
    pub(super) async fn befall(&self, fault: Fault) {
        use FaultKind as K;
        match fault.fault {
            K::Kill => self.down(&fault, down::Way::Kill).await,
            K::PowerLoss => self.down(&fault, down::Way::PowerLoss).await,
            K::Stop => self.down(&fault, down::Way::Stop).await,
            K::Wipe => self.wipe(&fault).await,
            K::Reconfigure => self.reconfigure(&fault).await,
            K::Reset => self.reset(&fault),
            K::HalfOpen => self.half_open(&fault),
            K::BitRot => self.rot(&fault),
            K::MisdirectedWrite => self.misdirect(&fault),
            K::ClockJump => self.jump(&fault),
            K::Pause => self.lasts(&fault, pause::condition(self, &fault)).await,
            K::CutTo | K::CutFrom | K::Cut => {
                self.lasts(&fault, cut::condition(self, &fault)).await;
            }
            K::RefuseConnects | K::DropConnects => {
                self.lasts(&fault, connects::condition(self, &fault)).await;
            }
            K::SlowNetwork => {
                let condition = slow_network::condition(self, &fault);
                self.lasts(&fault, condition).await;
            }
            K::Bandwidth => self.lasts(&fault, bandwidth::condition(self, &fault)).await,
            K::DiskFull => self.lasts(&fault, disk_full::condition(self, &fault)).await,
            K::SlowDisk => self.lasts(&fault, slow_disk::condition(self, &fault)).await,
            K::StallDisk => self.lasts(&fault, stall::condition(self)).await,
            K::ReadErrors | K::WriteErrors | K::SyncErrors => {
                self.lasts(&fault, io_errors::condition(self, &fault)).await;
            }
            K::ClockSkew | K::ClockDrift => {
                self.lasts(&fault, clock::condition(self, &fault)).await;
            }
        }
    }

    async fn lasts(&self, fault: &Fault, condition: Condition) {
        let node = self.node(&fault.node).id();
        self.strike(fault, "begins");
        let number = self.conditions().begin(self.world(), condition);
        self.world().clock().sleep(fault.lasts.0).await;
        self.conditions().end(self.world(), number);
        let what = What::Fault(format!("{} ends", fault.fault));
        self.world().recorder().record(node, what);
    }

    /// Notes a fault and how it shows.
    fn strike(&self, fault: &Fault, how: &str) {
        let what = What::Fault(format!("{} {how}", fault.fault));
        let node = self.node(&fault.node).id();
        if fault.fault.is_of_clocks() {
            self.world().recorder().work(node, Work::ClocksWrong);
        }
        self.world()
            .recorder()
            .fault(node, fault.fault.name(), what);
    }

    /// Tells the checkers that something acknowledged may be gone.
    fn damaged(&self, what: String) {
        let node = self.server().node().id();
        self.world().recorder().work(node, Work::Damaged { what });
    }

    /// Heals everything that is not healed yet. What a clock jumped stays.
    pub(super) fn heal(&self) {
        self.conditions().end_all(self.world());
        self.world()
            .recorder()
            .record(NodeId::WORLD, What::Fault("all healed".to_owned()));
    }
}
