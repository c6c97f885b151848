//! The clients of a run: what each does, started again after each of its faults.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use ottla_io::Spawn;
use tokio::sync::watch;

use super::stage::{MEMBERS, READERS, Stage};
use crate::{
    app::{Main, Place},
    event::{Promise, TopicPartition},
    io::SimIo,
    random::SimRandom,
    scenario::Workload,
    workload::{
        admin::{self, AdminPlan},
        consumer::{self, ConsumerPlan, Start},
        hostile,
        member::{self, GroupProgress, MemberPlan, Signals},
        producer::{self, ProducerPlan},
        session::{self, SessionPlan},
        timer,
    },
    world::Node,
};

/// A client's node: what it runs is started again after each of its faults.
pub(super) struct Client {
    pub(super) node: Node,
    pub(super) role: Role,
    /// Done with what it was told to end.
    pub(super) done: watch::Sender<bool>,
    /// How far it has read, if it reads everything by itself.
    pub(super) progress: GroupProgress,
    application: Option<Main>,
    index: u32,
    lives: Mutex<u32>,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Produces idempotently.
    Produces,
    /// Produces without idempotence.
    ProducesPlainly,
    /// Reads partitions of its own.
    Reads,
    /// Is a member of the group.
    TakesPart,
    /// Reads everything in fetch sessions.
    ReadsInSession,
    /// Looks for offsets by time.
    LooksByTime,
    /// Administers.
    Administers,
    /// Attacks.
    Attacks,
    /// Runs a process of an application.
    Application,
}

impl Role {
    fn of(node: &str) -> Self {
        match node.trim_end_matches(|letter: char| letter.is_ascii_digit()) {
            "producer" => Self::Produces,
            "plain" => Self::ProducesPlainly,
            "member" => Self::TakesPart,
            "session" => Self::ReadsInSession,
            "timer" => Self::LooksByTime,
            "admin" => Self::Administers,
            "hostile" => Self::Attacks,
            _ => Self::Reads,
        }
    }

    /// Whether it goes on until everything that was written has been read.
    pub(super) fn reads_to_the_end(self) -> bool {
        matches!(
            self,
            Self::Reads | Self::TakesPart | Self::ReadsInSession | Self::Application
        )
    }
}

impl Client {
    pub(super) fn new(name: &str, node: Node, application: Option<Main>) -> Self {
        let digits = name.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        let role = match application {
            Some(_) => Role::Application,
            None => Role::of(name),
        };
        Self {
            node,
            role,
            application,
            done: watch::channel(false).0,
            progress: GroupProgress::default(),
            index: digits.parse().unwrap_or(0),
            lives: Mutex::new(0),
        }
    }

    /// A number for each life, unlike that of any other client of its kind.
    fn next_life(&self) -> u32 {
        let mut lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        *lives += 1;
        self.index * 1000 + *lives
    }
}

/// What every client of a run is told.
struct Briefing {
    bootstrap: String,
    partitions: Vec<TopicPartition>,
    random: SimRandom,
    stop: watch::Receiver<bool>,
}

impl Stage {
    pub(super) fn start_client(&self, client: &Client) {
        let io = client.node.start();
        let number = client.next_life();
        let stop = match client.role.reads_to_the_end() {
            true => self.stop_consumers(),
            false => self.stop(),
        };
        let label = format!("workload {} {number}", client.node.name());
        let briefing = Briefing {
            bootstrap: self.server().bootstrap(),
            partitions: self.partitions(),
            random: self.world().random(&label),
            stop,
        };
        let task = self.task(client, number, io.clone(), briefing);
        let done = client.done.clone();
        let task = async move {
            task.await;
            done.send_replace(true);
        };
        io.spawn_detached("workload", task.boxed());
    }

    fn task(
        &self,
        client: &Client,
        number: u32,
        io: SimIo,
        briefing: Briefing,
    ) -> BoxFuture<'static, ()> {
        let recorder = self.world().recorder().clone();
        let workload = self.workload();
        let Briefing {
            bootstrap,
            partitions,
            mut random,
            stop,
        } = briefing;
        match client.role {
            Role::Produces | Role::ProducesPlainly => {
                let plan = producer_plan(client.role, number, workload, &mut random);
                let plan = ProducerPlan {
                    bootstrap,
                    partitions,
                    ..plan
                };
                producer::produce(io, recorder, plan, random, stop).boxed()
            }
            Role::Reads => {
                let plan = ConsumerPlan {
                    bootstrap,
                    partitions: self.share(client, partitions),
                    ..reader_plan(number, workload, &mut random)
                };
                consumer::consume(io, recorder, plan, random, stop).boxed()
            }
            Role::TakesPart => {
                let plan = MemberPlan {
                    // Room for many memberships of each life, apart from the readers' numbers.
                    number: 1_000_000 + number * 1000,
                    group: MEMBERS.into(),
                    bootstrap,
                    topics: self.topic_names(),
                    assignors: workload.assignor.assignors(),
                };
                let signals = Signals {
                    settle: self.stop(),
                    stop,
                };
                let progress = self.progress().clone();
                member::take_part(io, recorder, plan, progress, random, signals).boxed()
            }
            Role::ReadsInSession => {
                let plan = SessionPlan {
                    number: 500_000 + number,
                    bootstrap,
                    partitions,
                };
                let progress = client.progress.clone();
                session::read(io, recorder, plan, progress, random, stop).boxed()
            }
            Role::LooksByTime => {
                timer::look(io, recorder, bootstrap, partitions, random, stop).boxed()
            }
            Role::Administers => {
                let plan = AdminPlan {
                    number: 600_000 + number,
                    producers_from: 2_000_000_000 + client.index * 1_000_000,
                    name: client.node.name().to_string(),
                    bootstrap,
                    partitions,
                    deletes_records: workload.deletes_records,
                };
                let own = self.own_topics().clone();
                admin::administer(io, recorder, plan, own, random, stop).boxed()
            }
            Role::Attacks => hostile::attack(io, bootstrap, random, stop).boxed(),
            Role::Application => {
                let place = Place {
                    io,
                    bootstrap,
                    settling: self.stop(),
                    over: stop,
                };
                let run = client.application.as_ref().map(|main| main(place));
                async move {
                    if let Some(run) = run {
                        run.await;
                    }
                }
                .boxed()
            }
        }
    }

    /// The partitions that fall to one of the readers.
    fn share(&self, client: &Client, partitions: Vec<TopicPartition>) -> Vec<TopicPartition> {
        let readers = self.workload().consumers.max(1);
        let own = |index: usize| index as u32 % readers == (client.index - 1) % readers;
        let partitions = partitions.into_iter().enumerate();
        let partitions = partitions.filter(|(index, _)| own(*index));
        partitions.map(|(_, one)| one).collect()
    }
}

fn producer_plan(
    role: Role,
    number: u32,
    workload: &Workload,
    random: &mut SimRandom,
) -> ProducerPlan {
    let (number, promise) = match role {
        Role::Produces => (number, Promise::Once),
        _ => {
            let promises = [Promise::Durable, Promise::Written, Promise::Nothing];
            (100_000 + number, random.pick(&promises))
        }
    };
    ProducerPlan {
        number,
        bootstrap: String::new(),
        partitions: Vec::new(),
        payload_bytes_max: u64::from(workload.payload_bytes_max),
        pause_max: workload.pause_max.0,
        promise,
        late_max_ms: u64::try_from(workload.late_max.0.as_millis()).unwrap_or(0),
    }
}

fn reader_plan(number: u32, workload: &Workload, random: &mut SimRandom) -> ConsumerPlan {
    let slow = random.chance(1, 2);
    ConsumerPlan {
        number,
        group: Arc::from(READERS),
        bootstrap: String::new(),
        partitions: Vec::new(),
        start: random.pick(&[
            Start::Committed,
            Start::Committed,
            Start::Committed,
            Start::Earliest,
            Start::Latest,
        ]),
        pause_max: match slow {
            true => workload.reader_pause_max.0,
            false => Duration::ZERO,
        },
    }
}
