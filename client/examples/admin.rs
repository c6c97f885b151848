//! Creates a topic if it is missing and says what is in the cluster:
//! `cargo run -p ottla-client --example admin -- 127.0.0.1:9092 TOPIC`.

use std::error::Error;

use ottla_client::{
    ErrorCode,
    admin::{Admin, AdminError, NewTopic},
};
use ottla_io::real;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let bootstrap = args.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let topic = args.next().unwrap_or_else(|| "example".to_owned());
    real::run(|io| async move {
        let admin = Admin::new(io, [bootstrap])?;
        match admin
            .create_topic(NewTopic::new(topic.as_str(), 3, 1))
            .await
        {
            Err(AdminError::Broker(error)) if error.code == ErrorCode::TopicAlreadyExists => {}
            created => eprintln!("created: {:?}", created?),
        }
        eprintln!("{:#?}", admin.describe_cluster().await?);
        for topic in admin.list_topics().await? {
            eprintln!("{}: {} partitions", topic.name, topic.partitions.len());
        }
        for group in admin.list_groups().await? {
            let offsets = admin
                .list_group_offsets(group.group_id.clone(), None)
                .await?;
            eprintln!("group {} ({}): {offsets:?}", group.group_id, group.state);
        }
        admin.close().await;
        Ok::<(), Box<dyn Error>>(())
    })?
}
